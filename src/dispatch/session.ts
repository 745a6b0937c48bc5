import type { Adjustment, Exchange, ExchangeReply, GroupSpec, Settlement } from '../limits/store.js'
import type { ClockSync } from './clock-sync.js'
import type { Place } from './fair-queue.js'
import type { Grant, GrantEnd, TokenRequest } from './grant.js'

const MAX_SETTLEMENTS_PER_BATCH = 512
/** Near the lease's end a new process id costs less than finding out that the old one was fenced. */
const LEASE_USED = 0.9

export interface Batch<T> {
  readonly exchange: Exchange
  /** By the number of the grant asked for. */
  readonly waiters: Map<number, Place<T>>
  readonly firstSentMs: number
  sends: number
}

export interface SessionOptions {
  readonly spec: GroupSpec
  readonly slackMs: number
  readonly leaseMs: number
  readonly holdUntilCallDeadline: boolean
}

/**
 * What this process is to the store: its id (a new one after each fencing), the numbers of its batches and grants,
 * the grants it holds and the settlements it owes.
 */
export class Session {
  /** Grants not ended yet. */
  readonly open = new Map<number, Grant>()
  /** Settlements not yet acknowledged by the store, oldest first. */
  ended: Settlement[] = []
  #incarnation = 1
  #seq = 0
  #grantNumber = 0
  #epoch = ''
  /** Grants up to this number were charged to a store that has since lost its state. */
  #forgotten = 0
  #answeredMs = 0
  /** Ended, but not settled before the process id changed: adopted with the rest, so that they settle once. */
  #adoptable = new Map<number, readonly number[]>()

  constructor(
    private readonly options: SessionOptions,
    private readonly name: string,
  ) {}

  get processId(): string {
    return `${this.name}.${this.#incarnation}`
  }

  get joined(): boolean {
    return this.#seq > 0
  }

  /** Takes a new process id when the lease is about to run out, or has. */
  refresh(nowMs: number): void {
    if (this.#seq > 0 && nowMs - this.#answeredMs > this.options.leaseMs * LEASE_USED) this.#rejoin()
  }

  compose(
    places: readonly Place<TokenRequest>[],
    sync: ClockSync,
    nowMs: number,
    distrust: boolean,
  ): Batch<TokenRequest> {
    const waiters = new Map<number, Place<TokenRequest>>()
    const flows = new Map<string, number>()
    const asked = places.map((place) => {
      const grant = ++this.#grantNumber
      waiters.set(grant, place)
      const { item } = place
      let flow = flows.get(item.flowKey)
      if (flow === undefined) {
        flow = flows.size
        flows.set(item.flowKey, flow)
      }
      const sinceMs = sync.synced ? Math.floor(sync.earliest(item.sinceMs)) : Number.MAX_SAFE_INTEGER
      return { grant, pool: item.pool, flow, sinceMs, charges: item.charges }
    })
    const joining = this.#seq === 0
    const exchange: Exchange = {
      processId: this.processId,
      seq: ++this.#seq,
      leaseMs: this.options.leaseMs,
      holdUntilMs: this.#holdUntilMs(sync),
      knownEpoch: this.#epoch,
      // Never an epoch opened before: a store that lost its state must not look as if it hadn't.
      candidateEpoch: `${this.name}-${this.#incarnation}-${this.#seq}`,
      distrust,
      adoptions: joining ? [...this.#adoptable].map(([grant, slots]) => ({ grant, slots })) : [],
      settlements: this.ended.splice(0, MAX_SETTLEMENTS_PER_BATCH),
      waiters: asked,
    }
    this.#answeredMs ||= nowMs
    return { exchange, waiters, firstSentMs: nowMs, sends: 0 }
  }

  /** Takes the answer to a batch in; a fenced process takes a new id and keeps what it owes. */
  answered(batch: Batch<TokenRequest>, reply: ExchangeReply, nowMs: number): void {
    this.#answeredMs = nowMs
    const stateLost = this.#epoch !== '' && this.#epoch !== reply.epoch
    if (stateLost) this.#forgetRefunds(reply.fenced ? batch.exchange.settlements : [])
    this.#epoch = reply.epoch
    if (reply.fenced) {
      // Refused at its first sending it was certainly not applied.
      if (!stateLost) this.#takeBack(batch, batch.sends > 1)
      this.#rejoin()
    } else if (batch.exchange.seq === 1) this.#adoptable.clear()
  }

  /**
   * Gives a batch up that may have outlived its process id, and takes a new one. True if so: sent again it might be
   * applied twice, because a first batch is never fenced.
   */
  abandons(batch: Batch<TokenRequest>, nowMs: number): boolean {
    if (nowMs - batch.firstSentMs <= this.options.leaseMs * LEASE_USED) return false
    this.#takeBack(batch, true)
    this.#rejoin()
    return true
  }

  grant(request: TokenRequest, number: number, buckets: readonly number[], nowMs: number): Grant {
    const grant: Grant = {
      number,
      pool: request.pool,
      charges: request.charges,
      buckets,
      notBeforeMs: nowMs,
      sendByMs: nowMs + this.options.slackMs,
      callTimeoutMs: request.callTimeoutMs,
      state: 'unsent',
    }
    this.open.set(number, grant)
    return grant
  }

  /** Owes the store the end of a grant; false if it ended before. */
  end(grant: Grant, end: GrantEnd, coolDownMs: number): boolean {
    if (!this.open.delete(grant.number)) return false
    const adjustments: Adjustment[] = []
    grant.charges.forEach(([index, cost], i) => {
      const delta = end.unsent ? -cost : (end.deltas?.get(index) ?? 0)
      if (delta < 0 && grant.number <= this.#forgotten) return
      if (delta !== 0 && !this.#isSlot(index)) adjustments.push([index, grant.buckets[i] ?? 0, delta])
    })
    this.ended.push({
      grant: grant.number,
      adjustments,
      slots: this.#slotsOf(grant),
      cuts: end.cuts ?? [],
      grantedAtMs: grant.notBeforeMs,
      coolDownMs,
      pool: grant.pool,
    })
    return true
  }

  /** Takes back what was not sent yet of a pool's grants; their holders return them. */
  recall(pool: number): void {
    for (const grant of this.open.values()) if (grant.pool === pool && grant.state === 'unsent') grant.state = 'void'
  }

  /** Pools whose cool-down is not yet reported. */
  coolDownsOwed(): Set<number> {
    return new Set(this.ended.flatMap(({ pool, coolDownMs }) => (coolDownMs > 0 ? [pool] : [])))
  }

  /** Owes a batch's settlements again; where it may have been applied, without what must not be given back twice. */
  #takeBack({ exchange: { settlements } }: Batch<TokenRequest>, mayBeApplied: boolean): void {
    this.ended.unshift(...(mayBeApplied ? debtsOf(settlements) : settlements))
  }

  /** The store forgot what it was charged: there is nothing left to give back, only debts to report. */
  #forgetRefunds(unapplied: readonly Settlement[]): void {
    this.#forgotten = this.#grantNumber
    this.ended = debtsOf([...unapplied, ...this.ended])
  }

  #rejoin(): void {
    this.#incarnation++
    this.#seq = 0
    this.#adoptable = new Map()
    for (const settlement of this.ended) this.#adoptable.set(settlement.grant, settlement.slots)
    for (const grant of this.open.values()) this.#adoptable.set(grant.number, this.#slotsOf(grant))
  }

  #slotsOf(grant: Grant): number[] {
    return grant.charges.flatMap(([index]) => (this.#isSlot(index) ? [index] : []))
  }

  #isSlot(index: number): boolean {
    return this.options.spec.limits[index]?.windowMs === 0
  }

  #holdUntilMs(sync: ClockSync): number {
    if (!this.options.holdUntilCallDeadline || !sync.synced) return 0
    let latestMs = 0
    for (const grant of this.open.values()) latestMs = Math.max(latestMs, grant.sendByMs + grant.callTimeoutMs)
    return Math.ceil(latestMs)
  }
}

/** The same settlements without what they give back. */
function debtsOf(settlements: readonly Settlement[]): Settlement[] {
  return settlements.map((owed) => ({ ...owed, adjustments: owed.adjustments.filter(([, , delta]) => delta > 0) }))
}
