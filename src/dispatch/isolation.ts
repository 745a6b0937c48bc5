import { bucketOf, bucketWidthMs } from '../limits/window.js'
import { Alarm } from './alarm.js'
import type { ClockSync } from './clock-sync.js'
import { Floor } from './floor.js'
import type { Grant, GrantEnd, TokenRequest } from './grant.js'
import { hand } from './hand.js'
import type { DispatcherOptions } from './options.js'
import type { Batch, Session } from './session.js'
import type { Waiters } from './waiters.js'

/** The longest that a batch may be on its way before the store applies it, or never. */
const DELIVERY_MS = 2_000
const MAX_LOOK = 256

/**
 * Life without the store. Until its lease is over the process only waits; then, if it may, it goes on from its floor.
 * What it sends from there it owes the store as debt when it is back.
 */
export class Isolation {
  readonly #alarm: Alarm
  #lastSentMs = 0
  #floor: Floor | undefined
  #begun = false
  #serving = false

  constructor(
    private readonly options: DispatcherOptions,
    private readonly session: Session,
    private readonly waiters: Waiters,
    private readonly sync: ClockSync,
  ) {
    this.#alarm = new Alarm(options.clock, () => this.#open())
  }

  /** Whether the store is out of reach. */
  get active(): boolean {
    return this.#begun
  }

  /** Whether any pool's requests are served from the floor: a whole share may be none. */
  get serves(): boolean {
    const { clock, spec } = this.options
    const floor = this.#floor
    if (floor === undefined || clock.now() >= floor.closesMs) return false
    return spec.draws.some((draws) => floor.serves(draws))
  }

  /** A batch that may renew the lease left. */
  sent({ exchange: { seq } }: Batch): void {
    if (seq !== 0) this.#lastSentMs = this.options.clock.now()
  }

  /** Whether to knock instead of sending what may renew the lease. */
  knocks(nowMs: number): boolean {
    return this.#begun && this.options.isolatedMs > 0 && this.session.isLeaseOver(nowMs)
  }

  /** The store can't be reached. */
  begin(): void {
    if (this.#begun) return
    this.#begun = true
    if (this.options.isolatedMs > 0) this.#alarm.set(this.session.leasedAtMs + this.options.leaseMs)
  }

  /** The store answered. */
  end(): void {
    this.#begun = false
    this.#floor = undefined
    this.#serving = false
    this.#alarm.clear()
  }

  stop(): void {
    this.end()
  }

  ended(grant: Grant, end: GrantEnd): void {
    if (!this.#floor) return
    this.#floor.free(grant.draws)
    if ((end.tokensDelta ?? 0) > 0) this.#floor.owe(grant.draws, end.tokensDelta!, this.options.clock.now())
    this.serve()
  }

  /** Gives out what the floor allows now, and sets the alarm for the next that it will. */
  serve(): void {
    if (!this.#floor || this.#serving) return
    this.#serving = true // A request that is granted may settle, or another come, meanwhile.
    const nowMs = this.options.clock.now()
    let nextMs = Number.POSITIVE_INFINITY
    const blocked = new Set<string>()
    for (const request of this.waiters.next(MAX_LOOK)) {
      if (blocked.has(request.flowKey)) continue
      const opensMs = this.#opensMs(request.pool)
      const lastsMs = this.options.holdUntilCallDeadline ? request.callTimeoutMs : 0
      const atMs = opensMs > nowMs ? opensMs : this.#floor.fitsAt(request.draws, request.tokens, nowMs, lastsMs)
      if (atMs === nowMs) {
        this.#give(request, nowMs)
        continue
      }
      blocked.add(request.flowKey)
      if (atMs !== undefined) nextMs = Math.min(nextMs, atMs)
    }
    this.#serving = false
    if (nextMs < Number.POSITIVE_INFINITY) this.#alarm.set(nextMs)
  }

  /** Local time at which a pool is open again, by what the store said last and what was found out since. */
  #opensMs(pool: number): number {
    const { paused, coolDowns } = this.session.known
    if (paused.includes(pool)) return Number.POSITIVE_INFINITY
    let untilMs = this.session.owed.coolDownOf(pool)
    for (const [its, endMs] of coolDowns) if (its === pool) untilMs = Math.max(untilMs, endMs)
    return untilMs > 0 ? this.sync.localWhen(untilMs) : 0
  }

  #open(): void {
    if (this.#floor) {
      this.serve()
      return
    }
    const { spec, leaseMs, isolatedMs, onNews } = this.options
    const held = new Map<number, number>()
    for (const { draws } of this.session.open) {
      for (const index of draws) if (spec.limits[index]!.windowMs === 0) held.set(index, (held.get(index) ?? 0) + 1)
    }
    // The store applied a batch at the earliest when it was answered, at the latest some time after it was last sent.
    const earliestMs = this.session.leasedAtMs + leaseMs
    const latestMs = Math.max(earliestMs, this.#lastSentMs + DELIVERY_MS + leaseMs)
    const { floors } = this.session.known
    this.#floor = new Floor(spec.limits, floors, [...held], latestMs, isolatedMs, latestMs - earliestMs)
    onNews({ group: spec.group, type: 'on-floor', state: 'isolated' })
    this.serve()
  }

  #give(request: TokenRequest, nowMs: number): void {
    const floor = this.#floor
    const flow = this.waiters.flow(request.flowKey)
    if (!floor || !flow) return
    const { spec, slackMs } = this.options
    floor.take(request.draws, request.tokens, nowMs)
    const storeMs = Math.ceil(this.sync.latest(nowMs))
    for (const index of request.draws) {
      const { windowMs, dimension } = spec.limits[index]!
      if (windowMs === 0) continue
      const cost = dimension === 'tokens' ? request.tokens : 1
      // The store hears of it as debt; should it have lost its state, from the journal instead.
      this.session.owed.adjust(index, 0, cost)
      this.session.journal.add(index, bucketOf(storeMs, bucketWidthMs(windowMs)), cost)
    }
    const when = { notBeforeMs: storeMs, sendByMs: nowMs + slackMs[request.pool]!, isolated: true, boundAtMs: nowMs }
    hand(this.session, this.waiters, flow, request, when)
  }
}
