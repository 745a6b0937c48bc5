import type { ServerResponse } from 'node:http'
import type { Answer, AnswerTexts } from '../../http/openai-error.js'
import { JSON_TYPE } from '../../http/respond.js'

/** Writes an answer to Node's own response: on the way over a web one it would be copied, and each of a stream's texts queued twice. */
export function reply(response: ServerResponse, { status, body, headers }: Answer): void {
  if (response.destroyed) {
    // Nobody is there to take it.
    if (typeof body !== 'string') body.cancel()
  } else if (typeof body !== 'string') {
    response.writeHead(status, headers)
    void pour(response, body)
  } else {
    response.writeHead(status, listOf(headers, Buffer.byteLength(body)))
    response.end(body)
  }
}

/** Names and values in turn, as Node takes them too: of one object made from two it would take five times as long. */
function listOf(headers: Answer['headers'], length: number): string[] {
  const list = ['content-length', String(length)]
  if (headers['content-type'] === undefined) list.push('content-type', JSON_TYPE['content-type'])
  for (const name in headers) list.push(name, headers[name]!)
  return list
}

/** Asks for a text when the client has taken those before, as far as its socket lets it. Never rejects. */
async function pour(response: ServerResponse, { texts, cancel }: AnswerTexts): Promise<void> {
  response.once('close', () => {
    if (!response.writableFinished) cancel()
  })
  try {
    for await (const text of texts) {
      if (response.destroyed) return
      if (!response.write(text)) await drained(response)
    }
    response.end()
  } catch {
    // It broke off without a word for the client, who must not take it for the whole.
    response.destroy()
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      response.off('drain', go).off('close', go)
      resolve()
    }
    response.on('drain', go).on('close', go)
  })
}
