/** Beyond this nobody plans on us. */
const MAX_S = 3600
/** Departures remembered for each pool: enough to know a rate, few enough to follow it. */
const MAX_REMEMBERED = 100

/** What a pool did lately, while it had work. */
export interface Pace {
  /** Requests that ended. */
  readonly departures: number
  readonly observedMs: number
}

export interface QueueLoad extends Pace {
  readonly queued: number
  /** What the pool's limits allow at most. */
  readonly maxPerMs: number
}

/**
 * Whole seconds until what is queued now will have left, at the pace observed and never faster than the limits allow:
 * who comes back then finds a place. With nothing ended yet one request counts as ending now, since its pace is lower still.
 */
export function retryAfterSeconds({ queued, departures, observedMs, maxPerMs }: QueueLoad): number {
  const observedPerMs = Math.max(1, departures) / Math.max(1, observedMs)
  const seconds = Math.ceil(queued / Math.min(observedPerMs, maxPerMs) / 1000)
  return Math.min(MAX_S, Math.max(1, seconds))
}

/** Measures a pool's pace over its busy time: an idle minute says nothing of how fast it could be. */
export class PaceMeter {
  #open = 0
  #sinceMs = 0
  readonly #departuresMs: number[] = []

  arrived(nowMs: number): void {
    if (this.#open++ > 0) return
    this.#sinceMs = nowMs
    this.#departuresMs.length = 0
  }

  departed(nowMs: number): void {
    // Those that came before the meter was there are nobody's.
    if (this.#open === 0) return
    this.#open--
    this.#departuresMs.push(nowMs)
    // From the departure that is forgotten on, so that the count fits the time.
    if (this.#departuresMs.length > MAX_REMEMBERED) this.#sinceMs = this.#departuresMs.shift()!
  }

  pace(nowMs: number): Pace {
    return { departures: this.#departuresMs.length, observedMs: nowMs - this.#sinceMs }
  }
}
