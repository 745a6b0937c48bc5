import { performance } from 'node:perf_hooks'
import type { Headgate } from '../../gate.js'
import { type Call, HttpDesk, type JsonBody, textIn } from '../../http/desk.js'
import { type Answer, errorAnswer } from '../../http/openai-error.js'
import { routeOf } from '../../http/routes.js'
import { apiAt } from '../../providers/apis.js'
import type { Client } from './client.js'
import { digestOf, Repeats } from './idempotency.js'
import type { GatewayView } from './routes.js'

export const API_PATHS = ['/v1/chat/completions', '/v1/messages', '/v1/embeddings', '/v1/responses'] as const
export type ApiPath = (typeof API_PATHS)[number]

export function isApiPath(url: string | undefined): url is ApiPath {
  return (API_PATHS as readonly (string | undefined)[]).includes(url)
}

const CALLS = Object.fromEntries(API_PATHS.map((path) => [path, apiAt(path)!])) as Readonly<
  Record<ApiPath, Pick<Call, 'api' | 'wire'>>
>

const MAX_KEY_CHARS = 255

/** The gateway's governed endpoints: the model picks the pool, and a repeated request is made once. */
export class Front {
  readonly #desk: HttpDesk
  readonly #repeats = new Repeats({ now: () => performance.now() })

  constructor(
    gate: Headgate,
    private readonly view: GatewayView,
    warn: (message: string) => void,
  ) {
    this.#desk = new HttpDesk(gate, { warn })
  }

  async answer(path: ApiPath, { headers, hangUp, read }: Client): Promise<Answer> {
    const { api, wire } = CALLS[path]
    const call = { api, wire, headers, leaving: hangUp }
    const key = textIn(headers, 'idempotency-key')
    if (key === undefined) return this.#answer(call, read())
    if (key === '' || key.length > MAX_KEY_CHARS) {
      const message = `idempotency-key: expected 1 to ${MAX_KEY_CHARS} characters, got ${key.length}`
      return errorAnswer(400, message, { code: 'bad_request', param: 'idempotency-key' })
    }
    const reading = read()
    // What can't be read, or is nested too deep to be written again, is refused as without a key.
    const body = await reading.then((read) => JSON.stringify(read)).catch(() => undefined)
    if (body === undefined) return this.#answer(call, reading)
    // Whose key it is, is part of it: nobody gets another's answer by a guess.
    const who = ['authorization', 'x-api-key', 'x-headgate-tenant'].map((name) => textIn(headers, name) ?? '')
    return this.#repeats.answer({
      id: digestOf(path, key, ...who),
      digest: digestOf(body),
      signal: hangUp.signal,
      make: (shared) => this.#answer({ ...call, leaving: shared }, reading),
    })
  }

  #answer(call: Call, reading: Promise<JsonBody>): Promise<Answer> {
    return this.#desk.answer(
      call,
      () => reading,
      (body) => routeOf(this.view.routes, body),
    )
  }
}
