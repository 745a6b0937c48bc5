import { apiAt } from '../providers/apis.js'
import type { HttpDesk, JsonBody } from './desk.js'
import { errorAnswer, Refusal } from './openai-error.js'
import { OwnRetries } from './own-retries.js'
import { responseOf } from './respond.js'
import { type Route, routeOf } from './routes.js'

/** As global `fetch`, as far as SDKs use it. */
export type GovernedFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/**
 * A `fetch` whose calls go to one pool, or where their model says: the end of the path says which API is meant, everything before it and the key are
 * the pool's. It resolves with what `headgate serve` would answer, and rejects only when its signal fires.
 */
export function governedFetch(desk: HttpDesk, where: Route | ReadonlyMap<string, Route>): GovernedFetch {
  const retries = new OwnRetries()
  return async (input, init) => {
    const request = new Request(input, init)
    // The caller's own signal: a Request's only follows it, and holds on to it weakly.
    const signal = init?.signal ?? (input instanceof Request ? input.signal : request.signal)
    signal.throwIfAborted()
    const { pathname } = new URL(request.url)
    const target = request.method === 'POST' ? apiAt(pathname) : undefined
    if (!target) {
      const message = `a governed fetch has no such endpoint: ${request.method} ${pathname}`
      return responseOf(errorAnswer(404, message, { code: 'not_found' }))
    }
    const call = { ...target, headers: Object.fromEntries(request.headers), leaving: signal }
    let text = ''
    const answer = await desk.answer(
      call,
      async () => {
        text = await request.text()
        if (retries.isOne(text, performance.now())) desk.warnOfRetries()
        return objectOf(text)
      },
      (body) => ('get' in where ? routeOf(where, body) : where),
    )
    signal.throwIfAborted()
    if (answer.status === 429 || answer.status >= 500) retries.failed(text, performance.now())
    return responseOf(answer)
  }
}

function objectOf(text: string): JsonBody {
  try {
    const body: unknown = JSON.parse(text)
    if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as JsonBody
  } catch {
    // Said below.
  }
  throw new Refusal(400, 'the body: expected a JSON object', { code: 'invalid_json' })
}
