import type { ExchangeReply } from '../limits/store.js'

/** Relative drift allowed between this machine's clock and the store's. */
const DRIFT = 200e-6
/** More than that is no step, as long as NTP may have slewed the store's clock by it. */
const SLEW = 500e-6
/** Beyond what is known of it the store's clock may run ahead by this, between two replies. */
const TOLERANCE_MS = 100

/**
 * What the store's clock reads, bounded from both sides. A reply that was sent for at `sentMs`, read the store's clock
 * as `storeMs` and arrived at `receivedMs` proves that store minus local time lies in
 * [storeMs − receivedMs, storeMs − sentMs]; replies are intersected, widened by drift (Cristian 1989).
 */
export class ClockSync {
  #lower = Number.NEGATIVE_INFINITY
  #upper = Number.POSITIVE_INFINITY
  #atMs = 0
  #course = ''

  get synced(): boolean {
    return this.#upper !== Number.POSITIVE_INFINITY
  }

  /**
   * Takes a reply in. Returns 0, or by how much, in ms, the store's clock stepped ahead at most, when what is known of it
   * proves that it did: then what it dropped from its windows since can't be trusted. (Running behind only makes windows
   * longer.) Of another `course` (see below) earlier replies say nothing: a step back that is shorter than this reply was on
   * its way crosses no bounds, yet by those from before it dates would come early.
   */
  observe(storeMs: number, sentMs: number, receivedMs: number, course = ''): number {
    const elapsedMs = receivedMs - this.#atMs
    const widenMs = elapsedMs * DRIFT
    const [before, after] = [this.#lower - widenMs, this.#upper + widenMs]
    const lower = storeMs - receivedMs
    // What is left out of its µs.
    const upper = storeMs + 0.001 - sentMs
    const low = Math.max(lower, before)
    const high = Math.min(upper, after)
    // Bounds that cross mean that one of the clocks stepped: only the newest reply counts.
    const crossed = low > high || course !== this.#course
    this.#course = course
    this.#lower = crossed ? lower : low
    this.#upper = crossed ? upper : high
    this.#atMs = receivedMs
    return lower - after > TOLERANCE_MS + elapsedMs * SLEW ? upper - before : 0
  }

  /** The store's clock reads at least this. */
  earliest(localMs: number): number {
    return localMs + this.#lower - (localMs - this.#atMs) * DRIFT
  }

  /** When something began, at the earliest; never, before the first reply: then it begins when the store hears of it. */
  since(localMs: number): number {
    return this.synced ? this.earliest(localMs) : Number.MAX_SAFE_INTEGER
  }

  /** The store's clock reads at most this. */
  latest(localMs: number): number {
    return localMs + this.#upper + (localMs - this.#atMs) * DRIFT
  }

  /** Local time by which the store's clock surely reads `storeMs`. */
  localWhen(storeMs: number): number {
    return (storeMs - this.#lower - this.#atMs * DRIFT) / (1 - DRIFT)
  }
}

/** What store time goes by: another once the store's clock was set back, or is another server's. */
export function courseOf({ epoch, setBackMs }: Pick<ExchangeReply, 'epoch' | 'setBackMs'>): string {
  return `${epoch} ${setBackMs}`
}
