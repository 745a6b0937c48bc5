import { performance } from 'node:perf_hooks'
import { HeadgateError } from '../errors.js'
import type { Headgate } from '../gate.js'
import type { ApiInput, ChatInput, Priority } from '../intake/input.js'
import { type ApiName, pathOf, type Wire, wireOf } from '../providers/apis.js'
import { answerOf } from './answer.js'
import { type Answer, codeOf, errorAnswer, HUNG_UP, Refusal } from './openai-error.js'
import { type Pace, PaceMeter, retryAfterSeconds } from './retry-after.js'
import type { Route } from './routes.js'

/** What a client says to its provider, and no pool could know. */
const PASSED_ON = /^(?:anthropic-(?:version|beta)|openai-(?:organization|project|beta))$/

/** A call as it came in. */
export interface Call {
  readonly api: ApiName
  readonly wire: Wire
  readonly headers: Headers
  readonly signal: AbortSignal
}

export type JsonBody = Readonly<Record<string, unknown>>

export interface DeskOptions {
  /** Told once of each thing that the operator should mend. */
  readonly warn: (message: string) => void
}

/** Answers calls over HTTP with a gate: whoever finds the queue full is told so at once and never waits in front of it. */
export class HttpDesk {
  readonly #gate: Pick<Headgate, 'trySpawn' | 'spawnKnown' | 'stats'>
  readonly #paces = new Map<string, PaceMeter>()
  readonly #warn: (message: string) => void
  #warned = false

  constructor(gate: Pick<Headgate, 'trySpawn' | 'spawnKnown' | 'stats' | 'on'>, { warn }: DeskOptions) {
    this.#gate = gate
    this.#warn = warn
    for (const pool of Object.keys(gate.stats().pools)) this.#paces.set(pool, new PaceMeter())
    gate.on('transition', ({ pool, from, movedFrom }) => {
      if (movedFrom !== undefined) this.#paces.get(movedFrom)?.departed(performance.now())
      if (from === null || movedFrom !== undefined) this.#paces.get(pool)?.arrived(performance.now())
    })
    gate.on('outcome', ({ pool }) => this.#paces.get(pool)?.departed(performance.now()))
  }

  /** Always has an answer: what `read` or `routeOf` refuse is one, too. */
  async answer(call: Call, read: () => Promise<JsonBody>, routeOf: (body: JsonBody) => Route): Promise<Answer> {
    const { signal, wire } = call
    this.#watch(call.headers)
    try {
      const body = await read()
      // Gone while its body was read: the signal won't fire again.
      if (signal.aborted) return HUNG_UP
      const route = routeOf(body)
      const input = inputOf(call, body, route)
      const request = this.#gate.trySpawn(input) ?? (await this.#gate.spawnKnown(input))
      if (!request) return this.#turnAway(route, wire)
      const answer = await answerOf(request, { signal, apiKeys: route.apiKeys, wire })
      return { ...answer, log: { pool: request.pool, model: route.model, ...answer.log } }
    } catch (error) {
      if (error instanceof Refusal) return error.answer
      if (error instanceof HeadgateError && error.code === 'BAD_REQUEST') return badInput(error, wire)
      if (error instanceof HeadgateError && error.code === 'DEADLINE_EXCEEDED') return tooLate(error, wire)
      if (signal.aborted) return HUNG_UP
      throw error
    }
  }

  #turnAway({ pool, model, pools, maxPerMs }: Route, wire: Wire): Answer {
    const stats = this.#gate.stats()
    const { dispatcher } = stats.pools[pools[0]!]!
    const { queued } = pool === undefined ? stats.models[model!]! : stats.pools[pool]!
    if (dispatcher === 'draining' || dispatcher === 'stopped') {
      const headers = { 'retry-after': '1' }
      return errorAnswer(503, 'this gateway is shutting down and accepts nothing new', {
        code: 'draining',
        headers,
        wire,
      })
    }
    const pace = this.#paceOf(pools)
    const headers = { 'retry-after': String(retryAfterSeconds({ ...pace, queued, maxPerMs })) }
    const message = `${pool === undefined ? `model ${model}` : `pool ${pool}`}: its queue is full with ${queued} requests`
    return errorAnswer(429, message, { code: 'queue_full', headers, wire })
  }

  #paceOf(pools: readonly string[]): Pace {
    const paces = pools.map((pool) => this.#paces.get(pool)!.pace(performance.now()))
    const observedMs = Math.max(...paces.map((pace) => pace.observedMs))
    return { departures: paces.reduce((sum, { departures }) => sum + departures, 0), observedMs }
  }

  /** OpenAI's and Anthropic's SDKs count their own retries in a header. */
  #watch(headers: Headers): void {
    if (this.#warned || !(Number(headers.get('x-stainless-retry-count')) > 0)) return
    this.#warned = true
    this.#warn('an SDK in front of Headgate retries on its own, so attempts multiply: set its maxRetries to 0')
  }
}

export function inputOf({ api, wire, headers, signal }: Call, body: JsonBody, route: Route): ChatInput | ApiInput {
  const stranger = route.providers.findIndex((one) => pathOf(api, one) === undefined || wireOf(one) !== wire)
  const provider = route.providers[stranger]
  if (provider) {
    const own = wireOf(provider) === 'anthropic' ? '/v1/messages' : '/v1/chat/completions'
    const message = `pool ${route.pools[stranger]} of ${provider.name} has no such API: it answers at ${own}`
    throw new Refusal(404, message, { code: 'unsupported_api', wire })
  }
  const common = {
    ...(route.pool === undefined ? { model: route.model } : { pool: route.pool }),
    tenant: headers.get('x-headgate-tenant') ?? undefined,
    priority: (headers.get('x-headgate-priority') ?? undefined) as Priority | undefined,
    deadline: headers.get('x-headgate-deadline') ?? undefined,
    headers: Object.fromEntries([...headers].filter(([name]) => PASSED_ON.test(name))),
    cache: isUncached(headers) ? false : undefined,
    degrade: flagOf(headers.get('x-headgate-degrade')),
    signal,
  }
  const { model = body.model } = route
  if (api !== 'chat') return { ...common, api, body: { ...body, model } }
  // The gate says what is wrong with these, if anything is.
  const messages = body.messages as readonly unknown[]
  return { ...common, messages, body: { ...body, model } }
}

/** Its deadline can't be made, so it was not even accepted. */
function tooLate(error: HeadgateError, wire: Wire): Answer {
  const seconds = Math.max(1, Math.ceil((error.retryAfterMs ?? 0) / 1000))
  return errorAnswer(504, error.message, { code: codeOf(error), headers: { 'retry-after': String(seconds) }, wire })
}

function isUncached(headers: Headers): boolean {
  if (/\bno-(?:cache|store)\b/i.test(headers.get('cache-control') ?? '')) return true
  return /^(?:off|false)$/i.test(headers.get('x-headgate-cache') ?? '')
}

/** What is neither is for the gate to refuse. */
function flagOf(text: string | null): boolean | undefined {
  return text === null ? undefined : text === 'true' || text === 'false' ? text === 'true' : (text as never)
}

/** The gate's messages begin with the name of the field; some of these came in a header. */
function badInput(error: HeadgateError, wire: Wire): Answer {
  const message = error.message.replace(/^(?=(?:tenant|priority|deadline|degrade): )/, 'x-headgate-')
  const [, param] = /^([\w-]+): /.exec(message) ?? []
  return errorAnswer(400, message, { code: codeOf(error), param, wire })
}
