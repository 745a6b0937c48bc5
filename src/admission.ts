import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import type { Clock } from './clock.js'
import type { ResolvedConfig } from './config.js'
import type { Dispatcher } from './dispatch/dispatcher.js'
import type { Asked } from './dispatch/outlook.js'
import type { Shadow } from './dispatch/shadow.js'
import { parseDurationMs } from './durations.js'
import { HeadgateError } from './errors.js'
import type { WaitCost } from './gate-types.js'
import {
  type ApiInput,
  type CallInput,
  type ChatInput,
  checkCall,
  checkFunction,
  type Payload,
  PRIORITY_WEIGHT,
  type Priority,
  payloadOf,
} from './intake/input.js'
import { type Admitted, AnswersFirst } from './answers-first.js'
import { keyOf } from './answers/answer.js'
import type { Answering } from './answers/answering.js'
import type { AnswerCache } from './answers/answer-cache.js'
import type { Admission, Intake } from './intake/intake.js'
import type { Estimator } from './providers/estimator.js'
import type { HttpCaller } from './providers/http-caller.js'
import { pathOf } from './providers/apis.js'
import type { Alternatives, PoolRuntime } from './request/entry.js'
import { EventStream, type StreamTarget } from './request/event-stream.js'
import { type HttpWork, httpWork } from './request/http-work.js'
import type { GateRequest } from './request/request.js'
import { Tape } from './request/tape.js'
import type { RequestRunner } from './request/runner.js'
import { functionWork, type RunContext, type Work } from './request/work.js'

const DEFAULT_TENANT = 'default'

type HttpInput = ChatInput | ApiInput

export interface GatePool {
  readonly runtime: PoolRuntime
  readonly intake: Intake
  readonly dispatcher: Dispatcher
  readonly estimator: Estimator
  /** In place of the dispatcher where nothing may be delayed. */
  readonly shadow: Shadow | undefined
}

export interface AdmissionParts {
  readonly config: ResolvedConfig
  readonly clock: Clock
  readonly pools: ReadonlyMap<string, GatePool>
  readonly runner: RequestRunner
  readonly caller: HttpCaller
  /** Left out where every question is put to the provider. */
  readonly answers?: AnswerCache | undefined
  /** Left out where each process asks for itself. */
  readonly answering?: Answering | undefined
}

interface Call {
  readonly input: CallInput
  readonly work: Work
  readonly tokens: number
  readonly model: string
  readonly stream?: StreamTarget | undefined
  readonly reader?: EventStream | undefined
  readonly tape?: Tape | undefined
  /** Of the question, where its answer may be known. */
  readonly key?: string | undefined
  readonly stands?: readonly Stand[]
  readonly origin?: Origin | undefined
}

/** The request that another one stands in for. */
interface Origin {
  readonly id: string
  readonly deadlineMs: number | undefined
  readonly stream: StreamTarget | undefined
}

/** What makes the same request in another pool, for one that is known by then. */
type Stand = (origin: Origin) => GateRequest | undefined

/** Makes requests of inputs: checks them, works out what they cost, and says at once what can't be served. */
export class Admissions {
  readonly #answersFirst: AnswersFirst | undefined

  constructor(private readonly parts: AdmissionParts) {
    this.#answersFirst =
      parts.answers && new AnswersFirst(parts.answers, parts.config.cache?.coalesce ?? false, parts.answering)
  }

  /** A call over HTTP. */
  post(input: HttpInput): Admitted {
    checkCall(input, this.parts.pools)
    return this.#post(input)
  }

  #post(input: HttpInput, origin?: Origin): Admitted {
    const { runtime, estimator } = this.#pool(input.pool)
    const { config } = runtime
    const payload = payloadOf(input, estimator, config.models[0] ?? '')
    const reader = payload.stream && !origin ? new EventStream() : undefined
    const stream = origin?.stream ?? reader
    // Who stands in for another is asked because no answer is known.
    const key = origin ? undefined : this.#keyOf(input, payload)
    const tape = key !== undefined && stream ? new Tape(stream, this.parts.config.cache?.coalesce ?? false) : undefined
    const work = httpWork(this.parts.caller, config, { ...payload, stream: tape ?? stream })
    // Who stands in for another asks nobody else. And vectors of another model mean nothing beside this one's.
    const mayFallBack = !origin && input.degrade !== false && payload.api !== 'embeddings'
    const stands = mayFallBack ? config.fallback.map((name) => this.#standIn(name, input, work)) : []
    const { tokens, model } = payload
    return this.#admit({ input, work, tokens, model, stream, reader, tape, key, stands, origin })
  }

  /** The same request to another pool, and its model. A pool that is full, or can't make the deadline, is no help. */
  #standIn(
    pool: string,
    { pool: own, tenant, priority, estimatedTokens, headers, ...call }: HttpInput,
    work: HttpWork,
  ): Stand {
    const common = { pool, tenant, priority, estimatedTokens, degrade: false }
    return (origin) => {
      const { config } = this.#pool(pool).runtime
      if ('api' in call && pathOf(call.api, config.provider) === undefined) return undefined
      const [model = ''] = config.models
      const body: Record<string, unknown> = { ...work.body(), model }
      // What the caller says to one provider is not for another.
      const same = config.baseURL === this.#pool(own).runtime.config.baseURL
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
    checkCall(input, this.parts.pools)
    checkFunction(fn)
    const { config } = this.#pool(input.pool).runtime
    const work = functionWork(config.provider, this.parts.clock, fn)
    return this.#admit({ input, work, tokens: input.estimatedTokens ?? 0, model: config.models[0] ?? '' })
  }

  /** The wait for a grant, of a request that came now. */
  estimateMs({ pool, tokens = 0, tenant, priority }: WaitCost & { readonly pool: string }): number {
    const common = { ...(tenant !== undefined && { tenant }), ...(priority !== undefined && { priority }) }
    checkCall({ pool, estimatedTokens: tokens, ...common }, this.parts.pools)
    return this.#estimateMs(pool, this.#asked(pool, tenant, priority, tokens))
  }

  #admit({ input, work, tokens, model, stream, reader, tape, key, stands = [], origin }: Call): Admitted {
    const { clock, runner, config } = this.parts
    const { runtime, intake, shadow } = this.#pool(input.pool)
    const { tenant = DEFAULT_TENANT, priority = 'normal', signal } = input
    // One signal may stand for a thousand requests; Node would warn of a leak from the eleventh on.
    if (signal) setMaxListeners(0, signal)
    const arrivedMs = clock.now()
    const ownDeadlineMs = input.deadline === undefined ? undefined : arrivedMs + deadlineOf(input.deadline)
    const deadlineMs = origin ? origin.deadlineMs : ownDeadlineMs
    const tooLarge = runtime.plan.tooLarge({ tokens }, tenant)
    if (tooLarge) {
      const { id, max, cost } = tooLarge
      throw new HeadgateError('BAD_REQUEST', `the request costs ${cost} of ${id}, which allows at most ${max}`)
    }
    const asked = this.#asked(input.pool, tenant, priority, tokens)
    // Who has another pool to go to goes there, instead of being turned away.
    const check = () => {
      if (deadlineMs === undefined || shadow || stands.length > 0) return
      this.#checkDeadline(input.pool, asked, deadlineMs - clock.now())
    }
    const id = randomUUID()
    const { flowKey, draws } = asked
    const tenantWeight = config.tenants.get(tenant)?.weight ?? 1
    const classWeight = PRIORITY_WEIGHT[priority]
    const flow = { tenant, flowKey, tenantWeight, classWeight, draws }
    const when = { arrivedMs, deadlineMs, signal }
    const alternatives = this.#alternatives(input.pool, asked, stands, { id, deadlineMs })
    const recall = key === undefined || input.degrade === false ? undefined : () => this.parts.answers!.recall(key)
    const ends = { alternatives, recall, degrades: input.degrade, fallbackFor: origin?.id }
    const what = { estimatedTokens: tokens, work, stream, reader, model }
    const start = () => runner.start({ id, pool: runtime, ...flow, ...what, ...when, ...ends })
    const waitMs = () => this.#estimateMs(input.pool, asked)
    const weight = tenantWeight * classWeight
    const admission = { id, flowKey, weight, deadlineMs, signal, waitMs, start }
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
    return this.#answersFirst.admitted({ key, admission, place, tape })
  }

  /** Undefined for a question whose answer is not to be known. */
  #keyOf(input: HttpInput, { api, body }: Payload): string | undefined {
    const { answers, config } = this.parts
    if (!answers || input.cache === false) return undefined
    const { provider, baseURL } = this.#pool(input.pool).runtime.config
    const tenant = config.cache?.acrossTenants ? undefined : (input.tenant ?? DEFAULT_TENANT)
    return keyOf({ provider: provider.name, baseURL, api, tenant, headers: input.headers, body })
  }

  #alternatives(
    pool: string,
    asked: Asked,
    stands: readonly Stand[],
    origin: Omit<Origin, 'stream'>,
  ): Alternatives | undefined {
    if (stands.length === 0) return undefined
    const { dispatcher, shadow } = this.#pool(pool)
    const { outlook } = dispatcher
    return {
      fallbacks: stands.map((stand) => (stream) => stand({ ...origin, stream })),
      // Where nothing is delayed there is nothing to escape from.
      coolDownMs: () => (shadow ? 0 : outlook.coolDownMs(asked.pool)),
      leastWaitMs: () => (shadow ? 0 : outlook.leastWaitMs(asked)),
    }
  }

  #asked(pool: string, tenant = DEFAULT_TENANT, priority: Priority = 'normal', tokens = 0): Asked {
    const { plan } = this.#pool(pool).runtime
    return { pool: plan.index, flowKey: `${pool}|${tenant}|${priority}`, draws: plan.draws(tenant), tokens }
  }

  /** Behind all that this process has not passed on to the dispatcher yet. */
  #estimateMs(pool: string, asked: Asked): number {
    const { dispatcher, intake } = this.#pool(pool)
    return dispatcher.outlook.estimateWaitMs(asked, intake.queued + intake.atGate)
  }

  /** Who can't make the deadline is told at once, instead of waiting for nothing. */
  #checkDeadline(pool: string, asked: Asked, leftMs: number): void {
    const leastMs = this.#pool(pool).dispatcher.outlook.leastWaitMs(asked)
    // A pause ends whenever an operator says so: nobody can know that it outlasts the deadline.
    if (leastMs <= leftMs || leastMs === Number.POSITIVE_INFINITY) return
    const waitMs = Math.ceil(this.#estimateMs(pool, asked))
    const message = `pool ${pool}: the wait would be about ${waitMs} ms, the deadline is in ${Math.round(leftMs)} ms`
    const retryAfterMs = Math.max(0, Math.ceil(leastMs - leftMs))
    throw new HeadgateError('DEADLINE_EXCEEDED', message, { retryable: true, retryAfterMs })
  }

  #pool(name: string): GatePool {
    return this.parts.pools.get(name)!
  }
}

function deadlineOf(deadline: number | string): number {
  try {
    return parseDurationMs(deadline)
  } catch {
    throw new HeadgateError('BAD_REQUEST', `deadline: expected ms or a duration such as '30s', got ${String(deadline)}`)
  }
}
