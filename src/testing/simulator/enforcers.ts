/**
 * How a provider enforces one limit. Independent of Headgate's own window arithmetic on purpose: one checks the other.
 * Times are monotonic ms.
 */
export interface Enforcer {
  /** May be moved; what was charged stays charged. */
  limit: number
  readonly windowMs: number
  /** How long until `amount` would be accepted; 0 for now, Infinity for never. Charges nothing. */
  waitMs(nowMs: number, amount: number): number
  charge(nowMs: number, amount: number): void
  /** What could still be accepted now. */
  remaining(nowMs: number): number
}

export const WINDOW_KINDS = ['sliding', 'fixed', 'token-bucket', 'per-second'] as const
export type WindowKind = (typeof WINDOW_KINDS)[number]

export interface WindowLimit {
  readonly limit: number
  readonly windowMs: number
  readonly kind?: WindowKind
}

const SLICE_MS = 1_000

/** Every window of `windowMs`, wherever it begins, holds at most `limit`: each charge is remembered to the instant. */
class SlidingWindow implements Enforcer {
  #charges: { atMs: number; amount: number }[] = []
  #sum = 0

  constructor(
    public limit: number,
    readonly windowMs: number,
  ) {}

  waitMs(nowMs: number, amount: number): number {
    if (amount > this.limit) return Number.POSITIVE_INFINITY
    this.#forget(nowMs)
    let over = this.#sum + amount - this.limit
    if (over <= 0) return 0
    for (const charge of this.#charges) {
      over -= charge.amount
      if (over <= 0) return charge.atMs + this.windowMs - nowMs
    }
    return this.windowMs
  }

  charge(nowMs: number, amount: number): void {
    this.#charges.push({ atMs: nowMs, amount })
    this.#sum += amount
  }

  remaining(nowMs: number): number {
    this.#forget(nowMs)
    return Math.max(0, this.limit - this.#sum)
  }

  #forget(nowMs: number): void {
    let gone = 0
    for (const charge of this.#charges) {
      if (charge.atMs > nowMs - this.windowMs) break
      this.#sum -= charge.amount
      gone++
    }
    if (gone > 0) this.#charges = this.#charges.slice(gone)
  }
}

/** Counts per calendar window, as Azure's minutes: 2 × limit may pass around a boundary. */
class FixedWindow implements Enforcer {
  #window = -1
  #sum = 0

  constructor(
    public limit: number,
    readonly windowMs: number,
  ) {}

  waitMs(nowMs: number, amount: number): number {
    if (amount > this.limit) return Number.POSITIVE_INFINITY
    this.#turn(nowMs)
    return this.#sum + amount <= this.limit ? 0 : (this.#window + 1) * this.windowMs - nowMs
  }

  charge(nowMs: number, amount: number): void {
    this.#turn(nowMs)
    this.#sum += amount
  }

  remaining(nowMs: number): number {
    this.#turn(nowMs)
    return Math.max(0, this.limit - this.#sum)
  }

  #turn(nowMs: number): void {
    const window = Math.floor(nowMs / this.windowMs)
    if (window === this.#window) return
    this.#window = window
    this.#sum = 0
  }
}

/** Refills steadily up to `limit`, as OpenAI and Anthropic describe theirs. */
class TokenBucket implements Enforcer {
  #level: number
  #atMs: number | undefined

  constructor(
    public limit: number,
    readonly windowMs: number,
  ) {
    this.#level = limit
  }

  waitMs(nowMs: number, amount: number): number {
    if (amount > this.limit) return Number.POSITIVE_INFINITY
    this.#refill(nowMs)
    return Math.max(0, ((amount - this.#level) * this.windowMs) / this.limit)
  }

  charge(nowMs: number, amount: number): void {
    this.#refill(nowMs)
    this.#level -= amount
  }

  remaining(nowMs: number): number {
    this.#refill(nowMs)
    return Math.max(0, Math.floor(this.#level))
  }

  #refill(nowMs: number): void {
    const elapsedMs = nowMs - (this.#atMs ?? nowMs)
    this.#atMs = nowMs
    this.#level = Math.min(this.limit, this.#level + (elapsedMs * this.limit) / this.windowMs)
  }
}

/**
 * A sliding window, and its share in every second too, as DashScope's RPM/60 and TPM/60. What is larger than the share
 * passes where nothing else did within the second.
 */
class SlicedWindow implements Enforcer {
  readonly #whole: SlidingWindow
  readonly #slice: SlidingWindow

  constructor(
    limit: number,
    readonly windowMs: number,
  ) {
    this.#whole = new SlidingWindow(limit, windowMs)
    this.#slice = new SlidingWindow(this.#share(limit), SLICE_MS)
  }

  get limit(): number {
    return this.#whole.limit
  }

  set limit(limit: number) {
    this.#whole.limit = limit
    this.#slice.limit = this.#share(limit)
  }

  waitMs(nowMs: number, amount: number): number {
    const inSlice = Math.min(amount, this.#slice.limit)
    return Math.max(this.#whole.waitMs(nowMs, amount), this.#slice.waitMs(nowMs, inSlice))
  }

  charge(nowMs: number, amount: number): void {
    this.#whole.charge(nowMs, amount)
    this.#slice.charge(nowMs, amount)
  }

  remaining(nowMs: number): number {
    return Math.min(this.#whole.remaining(nowMs), this.#slice.remaining(nowMs))
  }

  #share(limit: number): number {
    return Math.max(1, Math.floor((limit * SLICE_MS) / this.windowMs))
  }
}

export function enforcerOf({ limit, windowMs, kind = 'sliding' }: WindowLimit): Enforcer {
  for (const [name, value] of Object.entries({ limit, windowMs })) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`simulator ${name}: expected a whole number ≥ 1, got ${String(value)}`)
    }
  }
  if (kind === 'fixed') return new FixedWindow(limit, windowMs)
  if (kind === 'per-second') return new SlicedWindow(limit, windowMs)
  return kind === 'token-bucket' ? new TokenBucket(limit, windowMs) : new SlidingWindow(limit, windowMs)
}
