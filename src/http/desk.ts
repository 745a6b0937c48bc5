import { performance } from 'node:perf_hooks'
import { HeadgateError } from '../errors.js'
import type { Headgate } from '../gate.js'
import type { ApiInput, ChatInput, Priority } from '../intake/input.js'
import { type ApiName, pathOf, type Wire, wireOf } from '../providers/apis.js'
import { answerOf } from './answer.js'
import { HangUp, hasLeft, type Leaving, signalOf } from './leaving.js'
import { type Answer, codeOf, errorAnswer, HUNG_UP, Refusal } from './openai-error.js'
import { type Pace, PaceMeter, retryAfterSeconds, wholeSeconds } from './retry-after.js'
import type { Route } from './routes.js'

/** What a client says to its provider, and no pool could know. */
const PASSED_ON = ['anthropic-version', 'anthropic-beta', 'openai-organization', 'openai-project', 'openai-beta']

/** With lower-case names, as Node's own. */
export type CallHeaders = Readonly<Record<string, string | string[] | undefined>>

/** A call as it came in. */
export interface Call {
  readonly api: ApiName
  readonly wire: Wire
  readonly headers: CallHeaders
  readonly leaving: Leaving
}

export type JsonBody = Readonly<Record<string, unknown>>

export interface DeskOptions {
  /** Told once of each thing that the operator should mend. */
  readonly warn: (message: string) => void
}

/** Answers calls over HTTP with a gate: whoever finds the queue full is told so at once and never waits in front of it. */
export class HttpDesk {
  readonly #gate: Pick<Headgate, 'trySpawn' | 'spawnKnown' | 'stats' | 'estimateWait'>
  readonly #paces = new Map<string, PaceMeter>()
  readonly #warn: (message: string) => void
  #warned = false

  constructor(
    gate: Pick<Headgate, 'trySpawn' | 'spawnKnown' | 'stats' | 'estimateWait' | 'on'>,
    { warn }: DeskOptions,
  ) {
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
    const { leaving, wire } = call
    this.#watch(call.headers)
    try {
      const body = await read()
      // Gone while its body was read: it won't be told again.
      if (hasLeft(leaving)) return HUNG_UP
      const route = routeOf(body)
      const input = inputOf(call, body, route)
      const request =
        this.#gate.trySpawn(input) ?? (await this.#gate.spawnKnown({ ...input, signal: signalOf(leaving) }))
      if (!request) return this.#turnAway(route, wire)
      if (leaving instanceof HangUp) leaving.onMade = () => request.cancel()
      const { apiKeys, model } = route
      return await answerOf(request, { leaving, apiKeys, wire, model, waitMs: () => this.#waitMs(route) })
    } catch (error) {
      if (error instanceof Refusal) return error.answerOn(wire)
      if (error instanceof HeadgateError && error.code === 'BAD_REQUEST') return badInput(error, wire)
      if (error instanceof HeadgateError && error.code === 'DEADLINE_EXCEEDED') return tooLate(error, wire)
      if (hasLeft(leaving)) return HUNG_UP
      throw error
    }
  }

  #waitMs({ pool, model }: Route): number {
    return this.#gate.estimateWait(pool ?? model!)
  }

  #turnAway(route: Route, wire: Wire): Answer {
    const { pool, model, pools, maxPerMs } = route
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
    const load = { ...pace, queued, maxPerMs, waitMs: this.#waitMs(route) }
    const headers = { 'retry-after': String(retryAfterSeconds(load)) }
    const message = `${pool === undefined ? `model ${model}` : `pool ${pool}`}: its queue is full with ${queued} requests`
    return errorAnswer(429, message, { code: 'queue_full', headers, wire })
  }

  #paceOf(pools: readonly string[]): Pace {
    const paces = pools.map((pool) => this.#paces.get(pool)!.pace(performance.now()))
    const observedMs = Math.max(...paces.map((pace) => pace.observedMs))
    return { departures: paces.reduce((sum, { departures }) => sum + departures, 0), observedMs }
  }

  /** OpenAI's and Anthropic's SDKs count their own retries in a header. */
  #watch(headers: CallHeaders): void {
    if (Number(headers['x-stainless-retry-count'] ?? 0) > 0) this.warnOfRetries()
  }

  warnOfRetries(): void {
    if (this.#warned) return
    this.#warned = true
    this.#warn('an SDK in front of Headgate retries on its own, so attempts multiply: set its maxRetries to 0')
  }
}

export function inputOf({ api, wire, headers, leaving }: Call, body: JsonBody, route: Route): ChatInput | ApiInput {
  const stranger = route.providers.findIndex((one) => pathOf(api, one) === undefined || wireOf(one) !== wire)
  const provider = route.providers[stranger]
  if (provider) {
    const own = wireOf(provider) === 'anthropic' ? '/v1/messages' : '/v1/chat/completions'
    const message = `pool ${route.pools[stranger]} of ${provider.name} has no such API: it answers at ${own}`
    throw new Refusal(404, message, { code: 'unsupported_api', wire })
  }
  const { pool, model: asked = body.model } = route
  const model = pool === undefined ? route.model : undefined
  const tenant = textIn(headers, 'x-headgate-tenant')
  const priority = textIn(headers, 'x-headgate-priority') as Priority | undefined
  const deadline = textIn(headers, 'x-headgate-deadline')
  const passed = passedOn(headers)
  const cache = isUncached(headers) ? false : undefined
  const degrade = flagOf(textIn(headers, 'x-headgate-degrade'))
  const signal = leaving instanceof HangUp ? undefined : leaving
  // It may be long, and mostly is as it goes on.
  const own = asked === body.model ? body : { ...body, model: asked }
  // Two literals: V8 takes longer for one object made from another than for all else here.
  if (api !== 'chat') {
    return { pool, model, tenant, priority, deadline, headers: passed, cache, degrade, signal, api, body: own }
  }
  // The gate says what is wrong with these, if anything is.
  const messages = body.messages as readonly unknown[]
  return { pool, model, tenant, priority, deadline, headers: passed, cache, degrade, signal, messages, body: own }
}

/** Its deadline can't be made, so it was not even accepted. */
function tooLate(error: HeadgateError, wire: Wire): Answer {
  const headers = { 'retry-after': String(wholeSeconds(error.retryAfterMs ?? 0)) }
  return errorAnswer(504, error.message, { code: codeOf(error), headers, wire })
}

function passedOn(headers: CallHeaders): Record<string, string> {
  const passed: Record<string, string> = {}
  for (const name of PASSED_ON) {
    const value = textIn(headers, name)
    if (value !== undefined) passed[name] = value
  }
  return passed
}

function isUncached(headers: CallHeaders): boolean {
  const control = textIn(headers, 'cache-control')
  if (control !== undefined && /\bno-(?:cache|store)\b/i.test(control)) return true
  return /^(?:off|false)$/i.test(textIn(headers, 'x-headgate-cache') ?? '')
}

export function textIn(headers: CallHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'object' ? value.join(', ') : value
}

/** What is neither is for the gate to refuse. */
function flagOf(text: string | undefined): boolean | undefined {
  return text === undefined ? undefined : text === 'true' || text === 'false' ? text === 'true' : (text as never)
}

/** The gate's messages begin with the name of the field; some of these came in a header. */
function badInput(error: HeadgateError, wire: Wire): Answer {
  const message = error.message.replace(/^(?=(?:tenant|priority|deadline|degrade): )/, 'x-headgate-')
  const [, param] = /^([\w-]+): /.exec(message) ?? []
  return errorAnswer(400, message, { code: codeOf(error), param, wire })
}
