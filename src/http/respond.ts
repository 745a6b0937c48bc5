import type { Answer, AnswerTexts } from './openai-error.js'

export const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' }

/** An answer as a Response; a stream is read as fast as its client takes it, and cancelled when it goes away. */
export function responseOf({ status, body, headers }: Answer): Response {
  if (typeof body === 'string') return new Response(body, { status, headers: { ...JSON_TYPE, ...headers } })
  return new Response(bytesOf(body), { status, headers })
}

function bytesOf({ texts, cancel }: AnswerTexts): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { value, done } = await texts.next()
        if (done) controller.close()
        else controller.enqueue(encoder.encode(value))
      },
      cancel,
    },
    // Nothing is read that nobody asked for.
    { highWaterMark: 0 },
  )
}
