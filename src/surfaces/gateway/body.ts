import { Refusal } from '../../http/openai-error.js'

const MAX_BODY_BYTES = 10 * 1024 * 1024
const MAX_DISCARDED_BYTES = 64 * 1024 * 1024

/** Reads a JSON object. Throws a Refusal for anything else; rejects when the client hangs up meanwhile. */
export async function readBody(request: Request): Promise<Readonly<Record<string, unknown>>> {
  const body = parse(await readBytes(request))
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>
  throw new Refusal(400, 'the body: expected a JSON object', { code: 'invalid_json' })
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    const reason = error instanceof SyntaxError ? error.message : 'it is not UTF-8'
    throw new Refusal(400, `the body could not be parsed as JSON: ${reason}`, { code: 'invalid_json' })
  }
}

/** Reads on past the limit, without keeping it: most clients only read an answer when they are through with sending. */
async function readBytes(request: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  // Not `for await`: leaving it would destroy the connection, and the answer with it.
  const reader = request.body?.getReader()
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    bytes += next.value.length
    if (bytes <= MAX_BODY_BYTES) chunks.push(next.value)
    else if (bytes > MAX_DISCARDED_BYTES) break
  }
  if (bytes <= MAX_BODY_BYTES) return Buffer.concat(chunks)
  throw new Refusal(413, `the body is longer than ${MAX_BODY_BYTES} bytes`, { code: 'request_too_large' })
}
