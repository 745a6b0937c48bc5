import { FreshMap } from '../registry.js'
import { Ceilings } from './ceiling.js'
import { Control } from './control.js'
import type { LimitSpec } from './store.js'
import { bucketOf, SlidingLog } from './window.js'

/** What is spent, in flight and allowed of each limit. Rate charges of one exchange show in walks only once it is over. */
export class Ledger {
  readonly ceilings = new Ceilings()
  readonly control = new Control()
  readonly #logs = new Map<string, SlidingLog>()
  readonly #inFlight = new FreshMap<string, number>()
  /** Share of each limit that is set aside for processes which may be cut off, by limit id. */
  readonly #setAside = new Map<string, number>()
  readonly #pending = new FreshMap<SlidingLog, Map<number, number>>()
  readonly #pendingSums = new FreshMap<SlidingLog, number>()

  log(limit: LimitSpec): SlidingLog {
    let log = this.#logs.get(limit.id)
    if (!log) {
      log = new SlidingLog(limit.windowMs, limit.holdMs)
      this.#logs.set(limit.id, log)
    }
    return log
  }

  used(limit: LimitSpec, nowMs: number): number {
    if (limit.windowMs === 0) return this.#inFlight.get(limit.id) ?? 0
    const log = this.log(limit)
    log.expire(nowMs)
    return log.sum + (this.#pendingSums.get(log) ?? 0)
  }

  /** What `used` would say, without a change. */
  usedAt(limit: LimitSpec, nowMs: number): number {
    if (limit.windowMs === 0) return this.#inFlight.get(limit.id) ?? 0
    const log = this.#logs.get(limit.id)
    return log ? log.sum - log.freedBy(nowMs) : 0
  }

  inFlight(id: string): number {
    return this.#inFlight.get(id) ?? 0
  }

  /** What may be spent of a limit at most: configured, learned, said by the provider, less what is set aside. */
  allowed(limit: LimitSpec): number {
    const ceiling = this.ceilings.effective(limit.id, this.control.configured(limit))
    return this.control.ceilingSaid(limit.id, ceiling) - this.setAsideOf(limit.id)
  }

  setAsideOf(id: string): number {
    return this.#setAside.get(id) ?? 0
  }

  free(limit: LimitSpec, nowMs: number): number {
    return this.allowed(limit) - this.used(limit, nowMs) - this.control.foreign(limit.id, nowMs).amount
  }

  /** When all that this exchange charged, and whatever was before, will have left the window. */
  emptyAt(limit: LimitSpec, nowMs: number): number {
    const log = this.log(limit)
    return log.expiryMs(Math.max(bucketOf(nowMs, log.widthMs), ...(this.#pending.get(log)?.keys() ?? [])))
  }

  /** Takes `amount` of a limit for a grant dated `atMs`. */
  charge(limit: LimitSpec, atMs: number, amount: number): void {
    if (limit.windowMs === 0) {
      this.moveSlots(limit.id, amount)
      return
    }
    const log = this.log(limit)
    const bucket = bucketOf(atMs, log.widthMs)
    let pending = this.#pending.get(log)
    if (!pending) {
      pending = new Map()
      this.#pending.set(log, pending)
    }
    pending.set(bucket, (pending.get(bucket) ?? 0) + amount)
    this.#pendingSums.set(log, (this.#pendingSums.get(log) ?? 0) + amount)
  }

  /** Undoes a charge. */
  refund(limit: LimitSpec, atMs: number, amount: number): void {
    if (limit.windowMs === 0) this.moveSlots(limit.id, -amount)
    else this.adjust(limit, bucketOf(atMs, this.log(limit).widthMs), -amount, atMs)
  }

  /** A correction: negative goes back to its bucket, positive is debt now. */
  adjust(limit: LimitSpec, bucket: number, delta: number, nowMs: number): void {
    const log = this.log(limit)
    if (delta < 0) log.refund(bucket, -delta)
    else if (delta > 0) log.add(bucketOf(nowMs, log.widthMs), delta)
  }

  /** Counts what may have been spent until `atMs`, as far as that matters still. */
  spent(limit: LimitSpec, atMs: number, amount: number, nowMs: number): void {
    const log = this.log(limit)
    const bucket = bucketOf(atMs, log.widthMs)
    if (amount > 0 && log.expiryMs(bucket) > nowMs) log.add(bucket, amount)
  }

  moveSlots(id: string, by: number): void {
    const count = (this.#inFlight.get(id) ?? 0) + by
    if (count === 0) this.#inFlight.delete(id)
    else this.#inFlight.set(id, count)
  }

  setAside(id: string, amount: number): void {
    const count = (this.#setAside.get(id) ?? 0) + amount
    if (count === 0) this.#setAside.delete(id)
    else this.#setAside.set(id, count)
  }

  /** When a rate limit that is full has room for anything again: now at the earliest; 0 for one that has, or where nobody knows. */
  roomAtMs(limit: LimitSpec, nowMs: number): number {
    const missing = 1 - this.free(limit, nowMs)
    if (missing <= 0) return 0
    const { amount, untilMs } = this.control.foreign(limit.id, nowMs)
    const log = this.log(limit)
    const own = (left: number) => log.freeAt(nowMs, left) ?? Number.POSITIVE_INFINITY
    const atMs = Math.min(
      own(missing),
      amount > 0 ? Math.max(untilMs, own(missing - amount)) : Number.POSITIVE_INFINITY,
    )
    return Number.isFinite(atMs) ? atMs : 0
  }

  /** Writes the charges of this exchange into their buckets. */
  flush(): void {
    for (const [log, pending] of this.#pending) for (const [bucket, amount] of pending) log.add(bucket, amount)
    this.#pending.clear()
    this.#pendingSums.clear()
  }

  /** Forgets what was spent and held, not what operators said. */
  clear(): void {
    this.#logs.clear()
    this.#inFlight.clear()
    this.#setAside.clear()
    this.#pending.clear()
    this.#pendingSums.clear()
  }

  /** For audits: what each limit's live buckets add up to, and its running sum. */
  audit(): { id: string; sum: number; bucketSum: number; buckets: (readonly [number, number])[] }[] {
    return [...this.#logs].map(([id, log]) => {
      const buckets = [...log.buckets()]
      return { id, sum: log.sum, bucketSum: buckets.reduce((total, [, amount]) => total + amount, 0), buckets }
    })
  }

  /** For audits: when a cost fits into a limit as it is now; never, for a slot that is not free. */
  fitsAtMs(limit: LimitSpec, cost: number, nowMs: number): number {
    const missing = cost - this.free(limit, nowMs)
    if (missing <= 0) return 0
    return limit.windowMs === 0 ? Infinity : (this.log(limit).freeAt(nowMs, missing) ?? Infinity)
  }

  get slots(): ReadonlyMap<string, number> {
    return new Map(this.#inFlight)
  }
}
