import { type Exchange, type ExchangeReply, type FlowStatement, type GroupSpec, NO_NEWS } from '../limits/store.js'
import { bucketOf, bucketWidthMs } from '../limits/window.js'
import { Registry } from '../registry.js'
import type { ClockSync } from './clock-sync.js'
import type { Grant, GrantEnd } from './grant.js'
import { holdUntilMs, type Waiting } from './hold.js'
import { Journal } from './journal.js'
import { Owed } from './owed.js'
import { Words } from './words.js'

/** Near the lease's end a new process id costs less than finding out that the old one was fenced. */
const LEASE_USED = 0.9
/** Below every number in use: answered from memory, or as fenced. */
const KNOCK = 0

export interface Batch {
  readonly exchange: Exchange
  readonly firstSentMs: number
  sends: number
}

export interface SessionOptions {
  readonly spec: GroupSpec
  readonly slackMs: readonly number[]
  readonly leaseMs: number
  readonly isolatedMs: number
  readonly holdUntilCallDeadline: boolean
}

/** What the store last said that outlives a reply. */
export interface Known
  extends Pick<ExchangeReply, 'used' | 'ceilings' | 'coolDowns' | 'paused' | 'overrides' | 'queues'>,
    Pick<ExchangeReply, 'poolWords' | 'limitWords'> {
  readonly roster: readonly string[]
  /** How many on the roster keep other limits than this process. */
  readonly others: number
  readonly floors: readonly number[]
  readonly usedAsOfMs: number
}

/** What this process is to the store: its id (new after each fencing), its batches and grants, what it owes and knows. */
export class Session {
  /** Grants handed to requests and not ended yet. */
  readonly open = new Registry<number, Grant>()
  readonly owed = new Owed()
  readonly journal: Journal
  readonly known: Known = {
    roster: [],
    others: 0,
    floors: [],
    used: [],
    usedAsOfMs: 0,
    ceilings: [],
    coolDowns: [],
    paused: [],
    overrides: [],
    poolWords: [],
    limitWords: [],
    queues: [],
  }
  readonly words: Words
  /** For how long anything it spent may count. */
  readonly #memoryMs: number
  #incarnation = 1
  #seq = 0
  #batches = 0
  #epoch = ''
  #version = 0
  /** Grants up to this number were charged to a store that has since lost its state. */
  #forgotten = 0
  /** Grants up to this number were given to a former process id. */
  #former = 0
  #grantNumber = 0
  /** When the last batch that was answered, and not fenced, was sent: its lease runs from then at the earliest. */
  #leasedAtMs = 0

  constructor(
    private readonly options: SessionOptions,
    private readonly name: string,
  ) {
    this.journal = new Journal(options.spec.limits)
    this.words = new Words(options.spec, this.known, name)
    this.#memoryMs = Math.max(options.leaseMs, ...options.spec.limits.map(({ windowMs, holdMs }) => windowMs + holdMs))
  }

  get processId(): string {
    return `${this.name}.${this.#incarnation}`
  }

  get joined(): boolean {
    return this.#seq > 0
  }

  get leasedAtMs(): number {
    return this.#leasedAtMs
  }

  /** Whether the store may have given this process up by now. */
  isLeaseOver(nowMs: number): boolean {
    return nowMs - this.#leasedAtMs > this.options.leaseMs * LEASE_USED
  }

  /** Takes a new process id when the lease is about to run out, or has; true if so. */
  refresh(nowMs: number): boolean {
    if (this.#seq === 0 || !this.isLeaseOver(nowMs)) return false
    // Nothing it spent counts any more, and an idle store may have forgotten the fleet: that is no loss.
    if (nowMs - this.#leasedAtMs > this.#memoryMs) this.#epoch = ''
    this.rejoin()
    return true
  }

  compose(
    flows: readonly FlowStatement[],
    waiting: Waiting,
    sync: ClockSync,
    nowMs: number,
    distrust: boolean,
    leave: boolean,
  ): Batch {
    const joining = this.#seq === 0
    if (joining) this.owed.forgetFormer()
    const exchange: Exchange = {
      processId: this.processId,
      seq: ++this.#seq,
      leaseMs: this.options.leaseMs,
      holdUntilMs: holdUntilMs(this.options, this.open, waiting, sync, nowMs),
      isolatedMs: this.options.isolatedMs,
      knownEpoch: this.#epoch,
      knownVersion: this.#version,
      // Never an epoch opened before: a store that lost its state must not look as if it hadn't.
      candidateEpoch: this.#nextEpoch(),
      distrust,
      held: joining ? this.#held() : [],
      floors: joining ? this.known.floors : [],
      journal: joining && this.#epoch !== '' ? this.#journal(sync.latest(nowMs)) : null,
      ...this.owed.take(),
      flows,
      leave,
    }
    this.#leasedAtMs ||= nowMs
    return { exchange, firstSentMs: nowMs, sends: 0 }
  }

  /** Takes the answer to a batch in. By `aheadMs` the store's clock jumped: cool-downs last as long as they would have. */
  answered(batch: Batch, reply: ExchangeReply, aheadMs: number): void {
    const { roster, floors } = this.known
    this.#accept(batch, reply)
    // By such a clock leases and floors of others ended before their time: what was known before is what may be so.
    if (aheadMs > 0) Object.assign(this.known, { roster, floors })
    const coolDowns = this.known.coolDowns.map(([pool, untilMs, age]) => [pool, untilMs + aheadMs, age])
    Object.assign(this.known, { coolDowns })
    this.words.correct(batch.firstSentMs)
  }

  /** A fenced process takes a new id and keeps what it owes. */
  #accept(batch: Batch, reply: ExchangeReply): void {
    if (reply.fenced) {
      // Refused at its first sending it was certainly not applied.
      this.owed.takeBack(batch.exchange, batch.sends > 1)
      if (reply.epoch !== this.#epoch) this.#forgetSpending()
      this.rejoin()
      return
    }
    // Not for a fenced one: should the next not arrive either, what is set aside goes by the lease before.
    this.#leasedAtMs = batch.firstSentMs
    if (reply.epoch !== this.#epoch && this.#epoch !== '') this.#forgetSpending()
    this.#epoch = reply.epoch
    this.#version = reply.version
    this.#learn(reply)
  }

  /**
   * Gives a batch up that may have outlived its process id, and takes a new one. True if so: sent again it might be
   * applied twice, because the store takes it for news once its process id is forgotten.
   */
  abandons(batch: Batch, nowMs: number): boolean {
    if (batch.exchange.seq > 1 || nowMs - batch.firstSentMs <= this.options.leaseMs * LEASE_USED) return false
    this.owed.takeBack(batch.exchange, true)
    this.rejoin()
    return true
  }

  /**
   * A batch without effect, in place of one that may have been applied: whatever the answer, it renews no lease. So a
   * process that lives on what is set aside for it finds out that the store is back.
   */
  knock(batch: Batch | undefined, nowMs: number): Batch {
    if (batch) this.owed.takeBack(batch.exchange, true)
    const { leaseMs, isolatedMs } = this.options
    const exchange: Exchange = {
      ...NO_NEWS,
      flows: [],
      held: [],
      floors: [],
      processId: this.processId,
      seq: KNOCK,
      leaseMs,
      isolatedMs,
      holdUntilMs: 0,
      knownEpoch: this.#epoch,
      knownVersion: 0,
      candidateEpoch: this.#nextEpoch(),
      distrust: false,
      journal: null,
      leave: false,
    }
    return { exchange, firstSentMs: nowMs, sends: 0 }
  }

  nextGrantNumber(): number {
    return ++this.#grantNumber
  }

  /** Counts what a grant of the store took of each rate limit. */
  note(draws: readonly number[], tokens: number, atMs: number): void {
    for (const index of draws) {
      const { windowMs } = this.#limit(index)
      if (windowMs > 0) this.journal.add(index, bucketOf(atMs, bucketWidthMs(windowMs)), this.#costOf(index, tokens))
    }
  }

  /** Owes the return of what an unused grant, or the unused part of one, took. `slots` false: they stay taken. */
  giveBack(draws: readonly number[], tokens: number, whole: boolean, atMs: number, forgotten = false): void {
    for (const index of draws) {
      const { windowMs, dimension } = this.#limit(index)
      if (windowMs === 0) {
        if (whole) this.owed.free(index, 1)
      } else if ((whole || dimension === 'tokens') && !forgotten) {
        this.#refund(index, bucketOf(atMs, bucketWidthMs(windowMs)), this.#costOf(index, tokens))
      }
    }
  }

  /** Whether the store knows the flow that it charged a grant's service to. */
  isCharged(grant: Grant): boolean {
    return grant.number > Math.max(this.#former, this.#forgotten)
  }

  /** Owes the store the end of a grant; false if it ended before. `nowMs` is store time at the latest. */
  end(grant: Grant, end: GrantEnd, nowMs: number): boolean {
    if (!this.open.delete(grant.number)) return false
    const forgotten = grant.number <= this.#forgotten
    if (end.unsent) {
      this.giveBack(grant.draws, grant.tokens, true, grant.notBeforeMs, forgotten)
      return true
    }
    for (const index of grant.draws) {
      const { windowMs, dimension } = this.#limit(index)
      if (windowMs === 0) this.owed.free(index, 1)
      else if (dimension === 'tokens') this.#correct(index, grant, end.tokensDelta ?? 0, nowMs, forgotten)
    }
    for (const index of end.cuts ?? []) this.owed.cut(index, grant.notBeforeMs)
    if (end.coolDownMs) this.owed.coolDown(grant.pool, Math.ceil(nowMs + end.coolDownMs))
    return true
  }

  /** By its number the store, or what a failover left of it, sees which of two epochs came later. */
  #nextEpoch(): string {
    return `${(Number.parseInt(this.#epoch, 10) || 0) + 1}-${this.name}-${++this.#batches}`
  }

  rejoin(): void {
    this.#incarnation++
    this.#seq = 0
    this.#former = this.#grantNumber
  }

  #correct(index: number, grant: Grant, delta: number, nowMs: number, forgotten: boolean): void {
    const widthMs = bucketWidthMs(this.#limit(index).windowMs)
    if (delta > 0) {
      this.owed.adjust(index, 0, delta)
      this.journal.add(index, bucketOf(nowMs, widthMs), delta)
    } else if (delta < 0 && !forgotten) {
      this.#refund(index, bucketOf(grant.notBeforeMs, widthMs), Math.min(-delta, grant.tokens))
    }
  }

  #refund(index: number, bucket: number, amount: number): void {
    this.owed.adjust(index, bucket, -amount)
    this.journal.refund(index, bucket, amount)
  }

  #learn(reply: ExchangeReply): void {
    const { known } = this
    this.journal.expire(reply.nowMs)
    if (reply.share) Object.assign(known, reply.share)
    const { used, ceilings, coolDowns, paused, overrides, poolWords, limitWords, queues } = reply
    const words = { poolWords, limitWords, queues }
    Object.assign(known, { used, usedAsOfMs: reply.nowMs, ceilings, coolDowns, paused, overrides, ...words })
  }

  /** The store forgot what it was charged: what it must know stands in the journal. */
  #forgetSpending(): void {
    this.#forgotten = this.#grantNumber
    this.owed.forgetSpending()
  }

  #journal(storeMs: number): Exchange['journal'] {
    const coolDowns = this.known.coolDowns.map(([pool, untilMs]) => [pool, untilMs] as const)
    return { ...this.known, coolDowns, charges: this.journal.charges, storeMs: Math.ceil(storeMs) }
  }

  #held(): Exchange['held'] {
    const held = new Map<number, number>()
    for (const { draws } of this.open) {
      for (const index of draws) if (this.#limit(index).windowMs === 0) held.set(index, (held.get(index) ?? 0) + 1)
    }
    return [...held]
  }

  #costOf(index: number, tokens: number): number {
    return this.#limit(index).dimension === 'tokens' ? tokens : 1
  }

  #limit(index: number) {
    return this.options.spec.limits[index]!
  }
}
