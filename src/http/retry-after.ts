/** Beyond this nobody plans on us. */
const MAX_S = 3600
const UNKNOWN_S = 60
/** Departures remembered for each pool: enough to know a rate, few enough to follow it. */
const MAX_REMEMBERED = 100

/** For a `Retry-After`: never 0, which would ask for a retry at once. When a pause ends its operator alone knows. */
export function wholeSeconds(waitMs: number): number {
  return Number.isFinite(waitMs) ? Math.max(1, Math.ceil(waitMs / 1000)) : UNKNOWN_S
}

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
  /** How long a request that came now would wait for its grant, as far as that can be foretold. */
  readonly waitMs: number
}

/**
 * Whole seconds until what is queued now will have left, at the pace observed and never faster than the limits allow:
 * who comes back then finds a place. Before anything has ended there is no pace, and the wait that is foretold counts.
 */
export function retryAfterSeconds({ queued, departures, observedMs, maxPerMs, waitMs }: QueueLoad): number {
  const observedPerMs = departures / Math.max(1, observedMs)
  const paceMs = departures > 0 ? queued / observedPerMs : waitMs
  return Math.min(MAX_S, wholeSeconds(Math.max(paceMs, queued / maxPerMs)))
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
