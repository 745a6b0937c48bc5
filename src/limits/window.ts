/**
 * Arithmetic of an exact sliding window kept as a bucketed log.
 *
 * Spending is charged to the bucket of the moment it was permitted (`notBefore`). What is permitted then may be written
 * until `sendBy = notBefore + slack` and reaches the provider up to `guard` later, so a bucket leaves the sum only when
 * all of it lies more than `window + slack + guard` back. Hence in every window of that length, as the provider sees
 * arrivals, no more than the limit was spent, and at most one bucket (1/600 of the window) of capacity is given away.
 */

const BUCKETS_PER_WINDOW = 600

/** Width of a bucket in whole ms: a 600th of the window, never below 1. */
export function bucketWidthMs(windowMs: number): number {
  return Math.max(1, Math.floor(windowMs / BUCKETS_PER_WINDOW))
}

/** Number of the bucket that holds the instant `atMs`. */
export function bucketOf(atMs: number, widthMs: number): number {
  return Math.floor(atMs / widthMs)
}

/** First instant at which a bucket counts no more; `holdMs` is slack plus guard. */
export function bucketExpiryMs(bucket: number, widthMs: number, windowMs: number, holdMs: number): number {
  return (bucket + 1) * widthMs + windowMs + holdMs
}

/** A sliding log of spending in buckets, oldest first, with a running sum. */
export class SlidingLog {
  readonly widthMs: number
  #sum = 0
  /** Bucket number → amount; insertion order is time order because time never goes back. */
  readonly #amounts = new Map<number, number>()

  constructor(readonly windowMs: number) {
    this.widthMs = bucketWidthMs(windowMs)
  }

  get sum(): number {
    return this.#sum
  }

  /** Live buckets, oldest first. */
  get buckets(): ReadonlyMap<number, number> {
    return this.#amounts
  }

  /** Charges the bucket of `nowMs` and returns its number. */
  add(nowMs: number, amount: number): number {
    const bucket = bucketOf(nowMs, this.widthMs)
    this.#amounts.set(bucket, (this.#amounts.get(bucket) ?? 0) + amount)
    this.#sum += amount
    return bucket
  }

  /** Gives back up to `amount` to the bucket it was charged to; nothing when that bucket is gone. */
  refund(bucket: number, amount: number): void {
    const held = this.#amounts.get(bucket)
    if (held === undefined) return
    const given = Math.min(held, amount)
    this.#amounts.set(bucket, held - given)
    this.#sum -= given
  }

  /** Drops every bucket that counts no more at `nowMs`. */
  expire(nowMs: number, holdMs: number): void {
    for (const [bucket, amount] of this.#amounts) {
      if (bucketExpiryMs(bucket, this.widthMs, this.windowMs, holdMs) > nowMs) break
      this.#amounts.delete(bucket)
      this.#sum -= amount
    }
  }

  /**
   * First instant at which at least `amount` of what is spent now will have left the window: `nowMs` when it is ≤ 0,
   * undefined when less than that is spent.
   */
  freeAt(nowMs: number, amount: number, holdMs: number): number | undefined {
    let missing = amount
    if (missing <= 0) return nowMs
    for (const [bucket, held] of this.#amounts) {
      missing -= held
      if (missing <= 0) return bucketExpiryMs(bucket, this.widthMs, this.windowMs, holdMs)
    }
    return undefined
  }
}
