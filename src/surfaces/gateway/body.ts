import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { Refusal } from '../../http/openai-error.js'

/** What Windows programs put before UTF-8. */
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf]
export const MAX_BODY_BYTES = 10 * 1024 * 1024
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024

/** Reads a JSON object. Throws a Refusal for anything else; rejects when the client hangs up meanwhile. */
export async function readBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const bytes = await readBytes(request)
  const { 'content-encoding': encoding = 'identity' } = request.headers
  if (encoding !== 'identity') {
    const message = `content-encoding: expected none, got ${encoding.slice(0, 50)}`
    throw new Refusal(415, message, { code: 'unsupported_encoding', param: 'content-encoding' })
  }
  const body = parse(bytes)
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>
  throw new Refusal(400, 'the body: expected a JSON object', { code: 'invalid_json' })
}

function parse(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) throw unparsable('it is not UTF-8')
  try {
    return JSON.parse(bytes.toString('utf8', hasMark(bytes) ? BYTE_ORDER_MARK.length : 0))
  } catch (error) {
    throw unparsable((error as SyntaxError).message)
  }
}

function unparsable(reason: string): Refusal {
  return new Refusal(400, `the body could not be parsed as JSON: ${reason}`, { code: 'invalid_json' })
}

function hasMark(bytes: Buffer): boolean {
  return BYTE_ORDER_MARK.every((byte, index) => bytes[index] === byte)
}

/** Reads on past the limit, without keeping it: most clients only read an answer when they are through with sending. */
function readBytes(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    const end = () => {
      if (bytes <= MAX_BODY_BYTES) resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks))
      else {
        const message = `the body is longer than ${MAX_BODY_BYTES} bytes`
        reject(new Refusal(413, message, { code: 'request_too_large' }))
      }
    }
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= MAX_BODY_BYTES) chunks.push(chunk)
      else if (bytes > MAX_DISCARDED_BYTES) {
        request.pause()
        end()
      }
    })
    request.once('end', end)
    request.once('error', reject)
    request.once('close', () => {
      // An Error, with its stack, for each request that came whole would be the most of reading it.
      if (!request.readableEnded) reject(new Error('the client hung up'))
    })
  })
}
