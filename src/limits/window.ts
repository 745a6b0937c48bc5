/**
 * Arithmetic of an exact sliding window kept as a bucketed log.
 *
 * Spending is charged to the bucket of the moment it is permitted for (`notBefore`). What is permitted then may be written
 * until `sendBy = notBefore + slack` and reaches the provider up to `guard` later, so a bucket leaves the sum only when
 * all of it lies more than `window + slack + guard` back. Hence in every window of that length, as the provider sees
 * arrivals, no more than the limit was spent, and at most one bucket (1/600 of the window) of capacity is given away.
 *
 * The sum holds what is dated ahead too, so a charge that fits today's sum fits every later one: dates may come in any order.
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

/** A sliding log of spending in buckets with a running sum. */
export class SlidingLog {
  readonly widthMs: number
  #sum = 0
  readonly #amounts = new Map<number, number>()
  /** The keys of `#amounts`, ascending. */
  readonly #order: number[] = []

  constructor(
    readonly windowMs: number,
    readonly holdMs: number,
  ) {
    this.widthMs = bucketWidthMs(windowMs)
  }

  get sum(): number {
    return this.#sum
  }

  /** Live buckets, oldest first. */
  *buckets(): Generator<readonly [bucket: number, amount: number]> {
    for (const bucket of this.#order) yield [bucket, this.#amounts.get(bucket) ?? 0]
  }

  get size(): number {
    return this.#order.length
  }

  expiryMs(bucket: number): number {
    return bucketExpiryMs(bucket, this.widthMs, this.windowMs, this.holdMs)
  }

  /** Charges a bucket. */
  add(bucket: number, amount: number): void {
    const held = this.#amounts.get(bucket)
    this.#amounts.set(bucket, (held ?? 0) + amount)
    this.#sum += amount
    if (held !== undefined) return
    let at = this.#order.length
    while (at > 0 && this.#order[at - 1]! > bucket) at--
    if (at === this.#order.length) this.#order.push(bucket)
    else this.#order.splice(at, 0, bucket)
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
  expire(nowMs: number): void {
    let gone = 0
    while (gone < this.#order.length && this.expiryMs(this.#order[gone]!) <= nowMs) gone++
    if (gone === 0) return
    for (const bucket of this.#order.splice(0, gone)) {
      this.#sum -= this.#amounts.get(bucket) ?? 0
      this.#amounts.delete(bucket)
    }
  }

  /**
   * First instant at which at least `amount` of what is spent now will have left the window: `nowMs` when it is ≤ 0,
   * undefined when less than that is spent.
   */
  freeAt(nowMs: number, amount: number): number | undefined {
    let missing = amount
    if (missing <= 0) return nowMs
    for (const bucket of this.#order) {
      missing -= this.#amounts.get(bucket) ?? 0
      if (missing <= 0) return this.expiryMs(bucket)
    }
    return undefined
  }

  /** How much of what is spent now will have left the window by `atMs`. */
  freedBy(atMs: number): number {
    let freed = 0
    for (const bucket of this.#order) {
      if (this.expiryMs(bucket) > atMs) break
      freed += this.#amounts.get(bucket) ?? 0
    }
    return freed
  }
}
