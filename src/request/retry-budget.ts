import type { Clock } from '../clock.js'

export interface RetryBudgetOptions {
  /** Retries allowed for each request. */
  readonly ratio: number
  /** Retries allowed each second besides, so that who sends little may retry at all. */
  readonly minPerSecond: number
}

const WINDOW_S = 10

/**
 * Bounds what all requests of a process may retry: in any ten seconds `ratio` of the requests that came in them, and
 * `minPerSecond` for each. A provider that is down is so not sent a multiple of what it could not bear.
 * (Finagle's retry budget, on a window instead of a bucket: nothing can be saved up.)
 */
export class RetryBudget {
  /** By second of the window. */
  readonly #requests = new Array<number>(WINDOW_S).fill(0)
  readonly #retries = new Array<number>(WINDOW_S).fill(0)
  #requestsInWindow = 0
  #retriesInWindow = 0
  #second: number
  #made = 0
  #refused = 0

  constructor(
    private readonly clock: Pick<Clock, 'now'>,
    private readonly options: RetryBudgetOptions,
  ) {
    this.#second = secondOf(clock)
  }

  /** Retries since the start: made, and refused as one too many. */
  get counts(): { readonly made: number; readonly overBudget: number } {
    return { made: this.#made, overBudget: this.#refused }
  }

  /** A request came in. */
  earn(): void {
    this.#requests[this.#slot()]!++
    this.#requestsInWindow++
  }

  /** Whether one more retry may be made; if so it counts. */
  spend(): boolean {
    const slot = this.#slot()
    const allowed = this.options.ratio * this.#requestsInWindow + this.options.minPerSecond * WINDOW_S
    if (this.#retriesInWindow + 1 > allowed) {
      this.#refused++
      return false
    }
    this.#made++
    this.#retries[slot]!++
    this.#retriesInWindow++
    return true
  }

  /** The current second's, once those that are over are out of the sums. */
  #slot(): number {
    const second = secondOf(this.clock)
    for (let left = Math.min(WINDOW_S, second - this.#second); left > 0; left--) {
      const slot = (second - left + 1) % WINDOW_S
      this.#requestsInWindow -= this.#requests[slot]!
      this.#retriesInWindow -= this.#retries[slot]!
      this.#requests[slot] = 0
      this.#retries[slot] = 0
    }
    this.#second = second
    return second % WINDOW_S
  }
}

function secondOf(clock: Pick<Clock, 'now'>): number {
  return Math.max(0, Math.floor(clock.now() / 1000))
}
