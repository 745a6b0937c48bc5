import { setMaxListeners } from 'node:events'
import { Ask, type Call, type Desk } from './ask.js'
import type { Clock } from './clock.js'
import type { ResolvedConfig } from './config.js'
import { poolsByModel } from './models.js'
import { Deployments, fitting } from './deployments.js'
import type { Asked } from './dispatch/outlook.js'
import { Entrants } from './entrant.js'
import { fallbacksFor, fallbacksOf, type Origin, type Stand } from './stand-ins.js'
import { parseDurationMs } from './durations.js'
import { HeadgateError } from './errors.js'
import type { GateEmitter } from './events.js'
import type { GatePool, ModelRoute } from './gate-pool.js'
import type { WaitCost } from './gate-types.js'
import {
  type ApiInput,
  type CallInput,
  type ChatInput,
  checkCall,
  checkFunction,
  modelOf,
  named,
  type Payload,
  PRIORITY_WEIGHT,
  payloadOf,
} from './intake/input.js'
import { type Admitted, AnswersFirst } from './answers-first.js'
import { keyOf } from './answers/answer.js'
import type { Answering } from './answers/answering.js'
import type { AnswerCache } from './answers/answer-cache.js'
import type { HttpCaller } from './providers/http-caller.js'
import { pathOf } from './providers/apis.js'
import { messageOf } from './request/degraded-answer.js'
import { Detours } from './request/detours.js'
import { EventStream } from './request/event-stream.js'
import { type HttpWork, httpWork } from './request/http-work.js'
import { Tape } from './request/tape.js'
import type { RequestRunner } from './request/runner.js'
import { functionWork, type RunContext, type Work } from './request/work.js'

const DEFAULT_TENANT = 'default'

type HttpInput = ChatInput | ApiInput

export interface AdmissionParts {
  readonly config: ResolvedConfig
  readonly clock: Clock
  readonly events: GateEmitter
  readonly pools: ReadonlyMap<string, GatePool>
  /** Of models that several pools serve. */
  readonly routes: ReadonlyMap<string, ModelRoute>
  readonly runner: RequestRunner
  readonly caller: HttpCaller
  /** Left out where every question is put to the provider. */
  readonly answers?: AnswerCache | undefined
  /** Left out where each process asks for itself. */
  readonly answering?: Answering | undefined
}

/** Makes requests of inputs: checks them, works out what they cost, and says at once what can't be served. */
export class Admissions {
  readonly #answersFirst: AnswersFirst | undefined
  readonly #deployments: Deployments
  readonly #routes: ReadonlyMap<string, ModelRoute>
  readonly #desk: Desk

  constructor(private readonly parts: AdmissionParts) {
    const { config, runner } = parts
    const pools = [...parts.pools.values()]
    this.#routes = new Map(pools.map((pool) => [pool.runtime.config.name, { pools: [pool], intake: pool.intake }]))
    this.#desk = {
      entrants: new Entrants((tenant) => config.tenants.get(tenant)?.weight ?? 1, PRIORITY_WEIGHT),
      start: (spec) => runner.start(spec),
      estimateMs: (route, askedIn) => this.#estimateMs(route, askedIn),
      leastMs: (route, askedIn) => this.#leastMs(route, askedIn),
      checkDeadline: (route, ask, deadlineMs) => this.#checkDeadline(route, ask, deadlineMs),
    }
    this.#answersFirst =
      parts.answers && new AnswersFirst(parts.answers, parts.config.cache?.coalesce ?? false, parts.answering)
    this.#deployments = new Deployments(parts.clock)
    if (parts.routes.size === 0) return
    parts.events.on('outcome', ({ pool, status }) => {
      if (status === 'completed') this.#deployments.answered(pool)
    })
  }

  /** A call over HTTP. */
  post(input: HttpInput): Admitted {
    checkCall(input)
    return this.#post(input)
  }

  #post(input: HttpInput, origin?: Origin): Admitted {
    const route = this.#route(input)
    const [first] = route.pools as [GatePool]
    const payloadIn = payloads(input)
    const payload = payloadIn(first)
    const reader = payload.stream && !origin ? new EventStream() : undefined
    const stream = origin?.stream ?? reader
    // Who stands in for another is asked because no answer is known.
    const key = origin ? undefined : this.#keyOf(input, payload, first)
    const tape = key !== undefined && stream ? new Tape(stream, this.parts.config.cache?.coalesce ?? false) : undefined
    const target = tape ?? stream
    const { caller } = this.parts
    const workIn = (pool: GatePool) => httpWork(caller, pool.runtime.config, payloadIn(pool), target)
    // What can't be sent is told at once.
    const work = workIn(first)
    // Who stands in for another asks nobody else. And vectors of another model mean nothing beside this one's.
    const mayFallBack = !origin && input.degrade !== false && payload.api !== 'embeddings'
    const stands = mayFallBack ? fallbacksOf(route).map((name) => this.#standIn(name, input, work, first)) : []
    const call: Call = {
      input,
      stream,
      reader,
      origin,
      tokensIn: (pool) => payloadIn(pool).tokens,
      workIn: (pool) => (pool === first ? work : workIn(pool)),
      modelIn: (pool) => payloadIn(pool).model,
    }
    const ask = this.#ask(call, route, stands, key)
    if (key === undefined || !this.#answersFirst) return ask
    return this.#answersFirst.admitted({ key, admission: ask, place: (start) => ask.placed(start), tape, reader })
  }

  /** The same request to another pool, and its model. A pool that is full, or can't make the deadline, is no help. */
  #standIn(
    pool: string,
    { tenant, priority, estimatedTokens, headers, ...call }: HttpInput,
    work: HttpWork,
    own: GatePool,
  ): Stand {
    const common = { pool, tenant, priority, estimatedTokens, degrade: false }
    return (origin) => {
      const { config } = this.#pool(pool).runtime
      if ('api' in call && pathOf(call.api, config.provider) === undefined) return undefined
      const [model = ''] = config.models
      const body: Record<string, unknown> = { ...work.body(), model }
      // What the caller says to one provider is not for another.
      const same = config.baseURL === own.runtime.config.baseURL
      const input = { ...common, ...(same && headers && { headers }), body }
      try {
        const messages = body.messages as readonly unknown[]
        const admitted = this.#post('api' in call ? { ...input, api: call.api } : { ...input, messages }, origin)
        return admitted.tryEnter('accepted before')?.request
      } catch (error) {
        if (error instanceof HeadgateError) return undefined
        throw error
      }
    }
  }

  /** A function to be governed. */
  run<T>(input: CallInput, fn: (context: RunContext) => Promise<T>): Ask {
    checkCall(input)
    checkFunction(fn)
    return this.#ask(new FunctionCall(input, fn, this.parts.clock), this.#route(input))
  }

  /** The wait for a grant, of a request that came now. */
  estimateMs({ pool, model, tokens = 0, tenant = DEFAULT_TENANT, priority = 'normal' }: WaitCost & CallInput): number {
    checkCall({ estimatedTokens: tokens, tenant, priority })
    const { entrants } = this.#desk
    const asked = (one: GatePool) => entrants.of(one, tenant, priority).asked(tokens)
    const { pools, intake } = this.#route({ pool, model })
    return this.#estimateMs({ pools: fitting(pools, tenant, { tokensIn: () => tokens }), intake }, asked)
  }

  /** A pool by its name, or else what serves the model. */
  #route(input: CallInput): ModelRoute {
    const { routes, config } = this.parts
    const model = input.pool === undefined ? modelOf(input) : undefined
    const route = model === undefined ? undefined : routes.get(model)
    if (route) return route
    const name = model === undefined ? input.pool : named('model', model, poolsByModel(config.pools.values()))[0]!.name
    return named('pool', name, this.#routes)
  }

  #ask(call: Call, route: ModelRoute, stands: readonly Stand[] = [], key?: string): Ask {
    const { tenant = DEFAULT_TENANT, priority = 'normal', signal, deadline, degrade } = call.input
    // One signal may stand for a thousand requests; Node would warn of a leak from the eleventh on.
    if (signal) setMaxListeners(0, signal)
    const arrivedMs = this.parts.clock.now()
    const ownDeadlineMs = deadline === undefined ? undefined : arrivedMs + deadlineOf(deadline)
    const deadlineMs = call.origin ? call.origin.deadlineMs : ownDeadlineMs
    const pools = fitting(route.pools, tenant, call)
    const fits = pools === route.pools ? route : { ...route, pools }
    const entrant = this.#desk.entrants.of(pools[0]!, tenant, priority)
    const ask = new Ask(this.#desk, call, fits, entrant, arrivedMs, deadlineMs)
    const recall = key === undefined || degrade === false ? undefined : () => this.parts.answers!.recall(key)
    const fallbacks = fallbacksFor(stands, ask)
    if (fallbacks || recall) ask.extras = { fallbacks, recall }
    return pools.length === 1 ? ask : this.#soonest(ask, pools)
  }

  /** Undefined for a question whose answer is not to be known. */
  #keyOf(input: HttpInput, { api, body }: Payload, { runtime }: GatePool): string | undefined {
    const { answers, config } = this.parts
    if (!answers || input.cache === false) return undefined
    const { provider, baseURL } = runtime.config
    const tenant = config.cache?.acrossTenants ? undefined : (input.tenant ?? DEFAULT_TENANT)
    return keyOf({ provider: provider.name, baseURL, api, tenant, headers: input.headers, body })
  }

  /** A request in the pool that serves it soonest, with a way to each of the others, prepared when it is first asked for. */
  #soonest(ask: Ask, pools: readonly GatePool[]): Ask {
    const asks = new Map<GatePool, Ask>()
    const askIn = (pool: GatePool) => {
      const its = asks.get(pool) ?? ask.in(pool, detours)
      asks.set(pool, its)
      return its
    }
    const ranked = () => this.#deployments.ranked(pools, (pool) => ask.askedIn(pool))
    const detours: Detours = new Detours({
      ways: () => ranked().map(({ pool, waitMs }) => ({ spec: askIn(pool), waitMs })),
      onKeyRefused: (pool) => this.#deployments.refused(pool),
      onTaken: (pool) => this.#deployments.took(pool),
    })
    return askIn(ranked()[0]!.pool)
  }

  /** Behind all that this process has not passed on to the dispatcher yet. */
  #estimateMs({ pools, intake }: ModelRoute, askedIn: (pool: GatePool) => Asked): number {
    // Of what waits for several pools each takes its share.
    const before = Math.ceil((intake.queued + intake.atGate) / pools.length)
    return Math.min(...pools.map((pool) => pool.dispatcher.outlook.estimateWaitMs(askedIn(pool), before)))
  }

  /** Where nothing is delayed there is nothing to wait for; and of several pools the soonest counts. */
  #leastMs({ pools }: ModelRoute, askedIn: (pool: GatePool) => Asked): number {
    return Math.min(...pools.map((pool) => (pool.shadow ? 0 : pool.dispatcher.outlook.leastWaitMs(askedIn(pool)))))
  }

  /** Who can't make the deadline is told at once, instead of waiting for nothing; or gets what stands in. */
  #checkDeadline(target: ModelRoute, ask: Ask, deadlineMs: number): void {
    if (ask.fallbacks || ask.recall || messageOf(ask) !== undefined) return
    const askedIn = (pool: GatePool) => ask.askedIn(pool)
    const leftMs = deadlineMs - this.parts.clock.now()
    const { pools } = target
    const leastMs = this.#leastMs(target, askedIn)
    // A pause ends whenever an operator says so: nobody can know that it outlasts the deadline.
    if (leastMs <= leftMs || leastMs === Number.POSITIVE_INFINITY) return
    const waitMs = Math.ceil(this.#estimateMs(target, askedIn))
    const names = pools.map(({ runtime }) => runtime.config.name).join(', ')
    const message = `pool ${names}: the wait would be about ${waitMs} ms, the deadline is in ${Math.round(leftMs)} ms`
    const retryAfterMs = Math.max(0, Math.ceil(leastMs - leftMs))
    throw new HeadgateError('DEADLINE_EXCEEDED', message, { retryable: true, retryAfterMs })
  }

  #pool(name: string): GatePool {
    return this.parts.pools.get(name)!
  }
}

/** A function that is governed. */
class FunctionCall implements Call {
  constructor(
    readonly input: CallInput,
    private readonly fn: (context: RunContext) => Promise<unknown>,
    private readonly clock: Clock,
  ) {}

  tokensIn(): number {
    return this.input.estimatedTokens ?? 0
  }

  workIn({ runtime }: GatePool): Work {
    return functionWork(runtime.config, this.clock, this.fn)
  }

  modelIn({ runtime }: GatePool): string {
    return this.input.model ?? runtime.config.models[0] ?? ''
  }
}

/** What a call sends in each pool, and what it is to reserve there. */
function payloads(input: HttpInput): (pool: GatePool) => Payload {
  const made = new Map<GatePool, Payload>()
  return (pool) => {
    const payload = made.get(pool) ?? payloadOf(input, pool.estimator, pool.runtime.config)
    made.set(pool, payload)
    return payload
  }
}

function deadlineOf(deadline: number | string): number {
  try {
    return parseDurationMs(deadline)
  } catch (error) {
    throw new HeadgateError('BAD_REQUEST', `deadline: ${(error as Error).message}`)
  }
}
