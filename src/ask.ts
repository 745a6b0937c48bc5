import type { Admitted } from './answers-first.js'
import type { Asked } from './dispatch/outlook.js'
import type { Entrant, Entrants } from './entrant.js'
import type { GatePool, ModelRoute } from './gate-pool.js'
import type { CallInput } from './intake/input.js'
import type { Admission, Entering, Intake } from './intake/intake.js'
import type { Detours } from './request/detours.js'
import type { Fallback, PoolRuntime, RequestSpec } from './request/entry.js'
import type { EventStream, StreamTarget } from './request/event-stream.js'
import type { RunningRequest } from './request/request.js'
import type { Work } from './request/work.js'
import { newRequestId } from './request-id.js'
import type { Origin } from './stand-ins.js'

/** What is to be called, in whichever pool serves it. */
export interface Call {
  readonly input: CallInput
  tokensIn(pool: GatePool): number
  workIn(pool: GatePool): Work
  modelIn(pool: GatePool): string
  /** Where the answer goes bit by bit, and the same where it is the request's own to hand out. */
  readonly stream?: StreamTarget | undefined
  readonly reader?: EventStream | undefined
  /** The request that it stands in for. */
  readonly origin?: Origin | undefined
}

/** Who takes an ask further. */
export interface Desk {
  readonly entrants: Entrants
  start(spec: RequestSpec): RunningRequest
  /** Behind all that waits already. */
  estimateMs(route: ModelRoute, askedIn: (pool: GatePool) => Asked): number
  /** As far as it is sure. */
  leastMs(route: ModelRoute, askedIn: (pool: GatePool) => Asked): number
  /** Throws DEADLINE_EXCEEDED for one that can't be made, where no other answer may be had than the pool's own. */
  checkDeadline(route: ModelRoute, ask: Ask, deadlineMs: number): void
}

/** What only some requests have. */
interface Extras {
  readonly fallbacks?: readonly Fallback[] | undefined
  readonly recall?: RequestSpec['recall']
  readonly detours?: Detours | undefined
}

type Standing = Parameters<Intake['tryEnter']>[1]

const NO_EXTRAS: Extras = {}

/**
 * One request, from the gate to its end, in the pool of its entrant. Its intake and its runner find here what they need to
 * know, worked out when they ask: there may be a million at the gate.
 */
export class Ask implements Admission, Admitted, RequestSpec {
  readonly estimatedTokens: number
  #extras = NO_EXTRAS
  #id: string | undefined = undefined
  #work: Work | undefined = undefined

  constructor(
    private readonly desk: Desk,
    private readonly call: Call,
    /** The pools that may serve it, and their queue. */
    private readonly route: ModelRoute,
    private readonly entrant: Entrant,
    readonly arrivedMs: number,
    readonly deadlineMs: number | undefined,
  ) {
    this.estimatedTokens = call.tokensIn(entrant.pool)
  }

  /** The same request in another of its pools. */
  in(pool: GatePool, detours: Detours): Ask {
    const { desk, call, route, arrivedMs, deadlineMs } = this
    const its = new Ask(desk, call, route, this.#entrantOf(pool), arrivedMs, deadlineMs)
    its.#id = this.id
    its.#extras = { ...this.#extras, detours }
    return its
  }

  /** Set before it enters. */
  set extras(extras: Omit<Extras, 'detours'>) {
    this.#extras = extras
  }

  get id(): string {
    this.#id ??= newRequestId()
    return this.#id
  }

  get pool(): PoolRuntime {
    return this.entrant.pool.runtime
  }

  get tenant(): string {
    return this.entrant.tenant
  }

  get tenantWeight(): number {
    return this.entrant.tenantWeight
  }

  get classWeight(): number {
    return this.entrant.classWeight
  }

  get weight(): number {
    return this.entrant.weight
  }

  get flowKey(): string {
    return this.entrant.flowKey
  }

  get draws(): readonly number[] {
    return this.entrant.draws
  }

  get work(): Work {
    this.#work ??= this.call.workIn(this.entrant.pool)
    return this.#work
  }

  get model(): string {
    return this.call.modelIn(this.entrant.pool)
  }

  get stream(): StreamTarget | undefined {
    return this.call.stream
  }

  get reader(): EventStream | undefined {
    return this.call.reader
  }

  get signal(): AbortSignal | undefined {
    return this.call.input.signal
  }

  get degrades(): boolean | undefined {
    return this.call.input.degrade
  }

  get fallbackFor(): string | undefined {
    return this.call.origin?.id
  }

  get fallbacks(): readonly Fallback[] | undefined {
    return this.#extras.fallbacks
  }

  get recall(): RequestSpec['recall'] {
    return this.#extras.recall
  }

  get detours(): Detours | undefined {
    return this.#extras.detours
  }

  /** What its wait in a pool is asked for by. */
  askedIn(pool: GatePool): Asked {
    return this.#entrantOf(pool).asked(this.call.tokensIn(pool))
  }

  waitMs(): number {
    return this.desk.estimateMs(this.route, (pool) => this.askedIn(pool))
  }

  leastWaitMs(): number {
    return this.desk.leastMs(this.route, (pool) => this.askedIn(pool))
  }

  start(): RunningRequest {
    return this.desk.start(this)
  }

  async enter(): Promise<RunningRequest> {
    this.#check()
    return this.route.intake.enter(this)
  }

  /** The same for who needs no promise of it. */
  enterFor(entering: Entering): void {
    this.#check()
    this.route.intake.enterFor(this, entering)
  }

  tryEnter(standing?: Standing): RunningRequest | undefined {
    this.#check()
    return this.route.intake.tryEnter(this, standing)
  }

  /** The same on its behalf, by a start of somebody else's. */
  placed(start: Admission['start']): Admitted {
    const { flowKey, weight, deadlineMs, signal } = this
    const { intake } = this.route
    const admission = { flowKey, weight, deadlineMs, signal, waitMs: () => this.waitMs(), start }
    return {
      enter: async () => {
        this.#check()
        return intake.enter(admission)
      },
      tryEnter: (standing) => {
        this.#check()
        return intake.tryEnter(admission, standing)
      },
    }
  }

  #check(): void {
    if (this.deadlineMs !== undefined) this.desk.checkDeadline(this.route, this, this.deadlineMs)
  }

  #entrantOf(pool: GatePool): Entrant {
    const { entrant } = this
    return pool === entrant.pool ? entrant : this.desk.entrants.of(pool, entrant.tenant, entrant.priority)
  }
}
