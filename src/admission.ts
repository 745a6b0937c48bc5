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
  PRIORITY_WEIGHT,
  type Priority,
  payloadOf,
} from './intake/input.js'
import type { Admission, Intake } from './intake/intake.js'
import type { HttpCaller } from './providers/http-caller.js'
import type { PoolRuntime } from './request/entry.js'
import { EventStream } from './request/event-stream.js'
import { httpWork } from './request/http-work.js'
import type { RequestRunner } from './request/runner.js'
import { functionWork, type RunContext, type Work } from './request/work.js'

const DEFAULT_TENANT = 'default'

export interface GatePool {
  readonly runtime: PoolRuntime
  readonly intake: Intake
  readonly dispatcher: Dispatcher
  /** In place of the dispatcher where nothing may be delayed. */
  readonly shadow: Shadow | undefined
}

export interface AdmissionParts {
  readonly config: ResolvedConfig
  readonly clock: Clock
  readonly pools: ReadonlyMap<string, GatePool>
  readonly runner: RequestRunner
  readonly caller: HttpCaller
}

/** A request on its way to its pool's intake. */
interface Admitted {
  readonly intake: Intake
  readonly admission: Admission
}

interface Call {
  readonly input: CallInput
  readonly work: Work
  readonly tokens: number
  readonly model: string
  readonly stream?: EventStream | undefined
}

/** Makes requests of inputs: checks them, works out what they cost, and says at once what can't be served. */
export class Admissions {
  constructor(private readonly parts: AdmissionParts) {}

  /** A call over HTTP. */
  post(input: ChatInput | ApiInput): Admitted {
    checkCall(input, this.parts.pools)
    const { config } = this.#pool(input.pool).runtime
    const payload = payloadOf(input, config.provider, config.models[0] ?? '')
    const stream = payload.stream ? new EventStream() : undefined
    const work = httpWork(this.parts.caller, config, { ...payload, stream })
    return this.#admit({ input, work, tokens: payload.tokens, model: payload.model, stream })
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

  #admit({ input, work, tokens, model, stream }: Call): Admitted {
    const { clock, runner, config } = this.parts
    const { runtime, intake, shadow } = this.#pool(input.pool)
    const { tenant = DEFAULT_TENANT, priority = 'normal', signal } = input
    // One signal may stand for a thousand requests; Node would warn of a leak from the eleventh on.
    if (signal) setMaxListeners(0, signal)
    const arrivedMs = clock.now()
    const deadlineMs = input.deadline === undefined ? undefined : arrivedMs + deadlineOf(input.deadline)
    const tooLarge = runtime.plan.tooLarge({ tokens }, tenant)
    if (tooLarge) {
      const { id, max, cost } = tooLarge
      throw new HeadgateError('BAD_REQUEST', `the request costs ${cost} of ${id}, which allows at most ${max}`)
    }
    const asked = this.#asked(input.pool, tenant, priority, tokens)
    if (deadlineMs !== undefined && !shadow) this.#checkDeadline(input.pool, asked, deadlineMs - arrivedMs)
    const id = randomUUID()
    const { flowKey, draws } = asked
    const tenantWeight = config.tenants.get(tenant)?.weight ?? 1
    const classWeight = PRIORITY_WEIGHT[priority]
    const flow = { tenant, flowKey, tenantWeight, classWeight, draws }
    const when = { arrivedMs, deadlineMs, signal }
    const start = () =>
      runner.start({ id, pool: runtime, ...flow, estimatedTokens: tokens, work, stream, model, ...when })
    const waitMs = () => this.#estimateMs(input.pool, asked)
    const weight = tenantWeight * classWeight
    return { intake, admission: { id, flowKey, weight, deadlineMs, signal, waitMs, start } }
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
