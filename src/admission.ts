import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Clock } from './clock.js'
import type { ResolvedConfig } from './config.js'
import { poolsByModel } from './models.js'
import { Deployments, fitting } from './deployments.js'
import type { Asked } from './dispatch/outlook.js'
import { alternativesOf, fallbacksOf, type Origin, type Stand } from './stand-ins.js'
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
  type Priority,
  payloadOf,
} from './intake/input.js'
import { type Admitted, AnswersFirst } from './answers-first.js'
import { keyOf } from './answers/answer.js'
import type { Answering } from './answers/answering.js'
import type { AnswerCache } from './answers/answer-cache.js'
import type { Admission } from './intake/intake.js'
import type { HttpCaller } from './providers/http-caller.js'
import { pathOf } from './providers/apis.js'
import { Detours } from './request/detours.js'
import type { RequestSpec } from './request/entry.js'
import { EventStream, type StreamTarget } from './request/event-stream.js'
import { type HttpWork, httpWork } from './request/http-work.js'
import { Tape } from './request/tape.js'
import type { RequestRunner } from './request/runner.js'
import { functionWork, type RunContext } from './request/work.js'

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

/** What a request asks for, in whichever pool serves it. */
interface Call {
  readonly input: CallInput
  readonly tokensIn: (pool: GatePool) => number
  readonly inPool: (pool: GatePool) => Pick<RequestSpec, 'work' | 'model'>
  readonly stream?: StreamTarget | undefined
  readonly reader?: EventStream | undefined
  readonly tape?: Tape | undefined
  /** Of the question, where its answer may be known. */
  readonly key?: string | undefined
  readonly stands?: readonly Stand[]
  readonly origin?: Origin | undefined
}

/** Makes requests of inputs: checks them, works out what they cost, and says at once what can't be served. */
export class Admissions {
  readonly #answersFirst: AnswersFirst | undefined
  readonly #deployments: Deployments

  constructor(private readonly parts: AdmissionParts) {
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
    const target = this.#target(input)
    const [first] = target.pools as [GatePool]
    const payloadIn = payloads(input)
    const payload = payloadIn(first)
    const reader = payload.stream && !origin ? new EventStream() : undefined
    const stream = origin?.stream ?? reader
    // Who stands in for another is asked because no answer is known.
    const key = origin ? undefined : this.#keyOf(input, payload, first)
    const tape = key !== undefined && stream ? new Tape(stream, this.parts.config.cache?.coalesce ?? false) : undefined
    const workIn = (pool: GatePool) =>
      httpWork(this.parts.caller, pool.runtime.config, { ...payloadIn(pool), stream: tape ?? stream })
    // What can't be sent is told at once.
    const work = workIn(first)
    const inPool = (pool: GatePool) => ({
      work: pool === first ? work : workIn(pool),
      model: payloadIn(pool).model,
    })
    // Who stands in for another asks nobody else. And vectors of another model mean nothing beside this one's.
    const mayFallBack = !origin && input.degrade !== false && payload.api !== 'embeddings'
    const stands = mayFallBack ? fallbacksOf(target).map((name) => this.#standIn(name, input, work, first)) : []
    const tokensIn = (pool: GatePool) => payloadIn(pool).tokens
    return this.#admit({ input, tokensIn, inPool, stream, reader, tape, key, stands, origin }, target)
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
  run<T>(input: CallInput, fn: (context: RunContext) => Promise<T>): Admitted {
    checkCall(input)
    checkFunction(fn)
    const inPool = ({ runtime: { config } }: GatePool) => ({
      work: functionWork(config, this.parts.clock, fn),
      model: input.model ?? config.models[0] ?? '',
    })
    return this.#admit({ input, tokensIn: () => input.estimatedTokens ?? 0, inPool }, this.#target(input))
  }

  /** The wait for a grant, of a request that came now. */
  estimateMs({ pool, model, tokens = 0, tenant, priority }: WaitCost & CallInput): number {
    const common = { ...(tenant !== undefined && { tenant }), ...(priority !== undefined && { priority }) }
    checkCall({ estimatedTokens: tokens, ...common })
    const target = this.#target({ pool, model })
    return this.#estimateMs(target, (one) => this.#asked(one, tenant, priority, tokens))
  }

  /** A pool by its name, or else what serves the model. */
  #target(input: CallInput): ModelRoute {
    const { pools, routes, config } = this.parts
    const model = input.pool === undefined ? modelOf(input) : undefined
    const route = model === undefined ? undefined : routes.get(model)
    if (route) return route
    const name = model === undefined ? input.pool : named('model', model, poolsByModel(config.pools.values()))[0]!.name
    const pool = named('pool', name, pools)
    return { pools: [pool], intake: pool.intake }
  }

  #admit(call: Call, target: ModelRoute): Admitted {
    const { clock, runner, config } = this.parts
    const { input, stream, reader, tape, key, stands = [], origin } = call
    const { tenant = DEFAULT_TENANT, priority = 'normal', signal } = input
    // One signal may stand for a thousand requests; Node would warn of a leak from the eleventh on.
    if (signal) setMaxListeners(0, signal)
    const arrivedMs = clock.now()
    const ownDeadlineMs = input.deadline === undefined ? undefined : arrivedMs + deadlineOf(input.deadline)
    const deadlineMs = origin ? origin.deadlineMs : ownDeadlineMs
    const pools = fitting(target.pools, tenant, call.tokensIn)
    const fits = { ...target, pools }
    const askedIn = (pool: GatePool) => this.#asked(pool, tenant, priority, call.tokensIn(pool))
    // Who has another pool to go to goes there, instead of being turned away.
    const check = () => {
      if (deadlineMs === undefined || stands.length > 0) return
      this.#checkDeadline(fits, askedIn, deadlineMs - clock.now())
    }
    const id = randomUUID()
    const tenantWeight = config.tenants.get(tenant)?.weight ?? 1
    const classWeight = PRIORITY_WEIGHT[priority]
    const alternatives = alternativesOf(fits, askedIn, stands, { id, deadlineMs })
    const recall = key === undefined || input.degrade === false ? undefined : () => this.parts.answers!.recall(key)
    const ends = { alternatives, recall, degrades: input.degrade, fallbackFor: origin?.id }
    const same = { id, tenant, tenantWeight, classWeight, stream, reader, arrivedMs, deadlineMs, signal, ...ends }
    const specIn = (pool: GatePool, detours?: Detours): RequestSpec => {
      const { flowKey, draws, tokens } = askedIn(pool)
      const its = { pool: pool.runtime, flowKey, draws, estimatedTokens: tokens, ...call.inPool(pool) }
      return { ...same, ...its, ...(detours && { detours }) }
    }
    const spec = pools.length === 1 ? specIn(pools[0]!) : this.#detours(pools, askedIn, specIn).best()!
    const waitMs = () => this.#estimateMs(fits, askedIn)
    const weight = tenantWeight * classWeight
    const start = () => runner.start(spec)
    const admission = { flowKey: spec.flowKey, weight, deadlineMs, signal, waitMs, start }
    const { intake } = target
    const place = (its: Admission): Admitted => ({
      enter: async () => {
        check()
        return intake.enter(its)
      },
      tryEnter: (standing) => {
        check()
        return intake.tryEnter(its, standing)
      },
    })
    if (key === undefined || !this.#answersFirst) return place(admission)
    return this.#answersFirst.admitted({ key, admission, place, tape, reader })
  }

  /** Undefined for a question whose answer is not to be known. */
  #keyOf(input: HttpInput, { api, body }: Payload, { runtime }: GatePool): string | undefined {
    const { answers, config } = this.parts
    if (!answers || input.cache === false) return undefined
    const { provider, baseURL } = runtime.config
    const tenant = config.cache?.acrossTenants ? undefined : (input.tenant ?? DEFAULT_TENANT)
    return keyOf({ provider: provider.name, baseURL, api, tenant, headers: input.headers, body })
  }

  /** The ways of a request through the pools that serve its model, each prepared when it is first asked for. */
  #detours(
    pools: readonly GatePool[],
    askedIn: (pool: GatePool) => Asked,
    specIn: (pool: GatePool, detours: Detours) => RequestSpec,
  ): Detours {
    const specs = new Map<GatePool, RequestSpec>()
    const detours: Detours = new Detours({
      ways: () =>
        this.#deployments.ranked(pools, askedIn).map(({ pool, waitMs }) => {
          const spec = specs.get(pool) ?? specIn(pool, detours)
          specs.set(pool, spec)
          return { spec, waitMs }
        }),
      onKeyRefused: (pool) => this.#deployments.refused(pool),
      onTaken: (pool) => this.#deployments.took(pool),
    })
    return detours
  }

  #asked(pool: GatePool, tenant = DEFAULT_TENANT, priority: Priority = 'normal', tokens = 0): Asked {
    const { plan, config } = pool.runtime
    return { pool: plan.index, flowKey: `${config.name}|${tenant}|${priority}`, draws: plan.draws(tenant), tokens }
  }

  /** Behind all that this process has not passed on to the dispatcher yet. */
  #estimateMs({ pools, intake }: ModelRoute, askedIn: (pool: GatePool) => Asked): number {
    // Of what waits for several pools each takes its share.
    const before = Math.ceil((intake.queued + intake.atGate) / pools.length)
    return Math.min(...pools.map((pool) => pool.dispatcher.outlook.estimateWaitMs(askedIn(pool), before)))
  }

  /** Who can't make the deadline is told at once, instead of waiting for nothing. */
  #checkDeadline(target: ModelRoute, askedIn: (pool: GatePool) => Asked, leftMs: number): void {
    const { pools } = target
    if (pools.some(({ shadow }) => shadow)) return
    const leastMs = Math.min(...pools.map((pool) => pool.dispatcher.outlook.leastWaitMs(askedIn(pool))))
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
  } catch {
    throw new HeadgateError('BAD_REQUEST', `deadline: expected ms or a duration such as '30s', got ${String(deadline)}`)
  }
}
