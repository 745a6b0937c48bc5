import type { Clock } from '../clock.js'
import type { ProviderFailure } from '../providers/provider.js'
import type { Entry } from './entry.js'

export interface RetryBudgetOptions {
  /** Retries allowed for each request. */
  readonly ratio: number
  /** Retries allowed each second besides, so that who sends little may retry at all. */
  readonly minPerSecond: number
}

const WINDOW_S = 10
/** A retry that could be made no sooner than this is no help. */
const MAX_AHEAD_S = 30
const SPAN_S = WINDOW_S + MAX_AHEAD_S

/**
 * Bounds what all requests of a process may retry: in any ten seconds `ratio` of the requests that came in them, and
 * `minPerSecond` for each. A provider that is down is so not sent a multiple of what it could not bear. What is too much now
 * is booked for the first second that has room, first come first served.
 * (Finagle's retry budget, on a window instead of a bucket: nothing can be saved up.)
 */
export class RetryBudget {
  /** By second, from the oldest of the window to the last that may be booked. */
  readonly #requests = new Array<number>(SPAN_S).fill(0)
  readonly #retries = new Array<number>(SPAN_S).fill(0)
  #second: number
  /** Nobody books before who came first. */
  #lastBooked = 0
  #made = 0
  #refused = 0

  constructor(
    private readonly clock: Pick<Clock, 'now'>,
    private readonly options: RetryBudgetOptions,
  ) {
    this.#second = secondOf(clock)
  }

  /** Retries since the start: made or booked, and refused as one too many. */
  get counts(): { readonly made: number; readonly overBudget: number } {
    return { made: this.#made, overBudget: this.#refused }
  }

  /** A request came in. */
  earn(): void {
    this.#advance()
    this.#requests[this.#second % SPAN_S]!++
  }

  /**
   * How long one more retry has to wait, in ms: 0 if it may be made now. Then it counts. Undefined where there is no room
   * within `withinMs` (30 s at most).
   */
  book(withinMs = 0): number | undefined {
    this.#advance()
    const nowMs = this.clock.now()
    const lastSecond = Math.min(this.#second + MAX_AHEAD_S, Math.floor((nowMs + withinMs) / 1000))
    for (let second = Math.max(this.#second, this.#lastBooked); second <= lastSecond; second++) {
      if (this.#sum(this.#retries, second) + 1 > this.#allowed(second)) continue
      this.#retries[second % SPAN_S]!++
      this.#lastBooked = second
      this.#made++
      return Math.max(0, second * 1000 - nowMs)
    }
    this.#refused++
    return undefined
  }

  /** Retries of the ten seconds that end with this one; of requests that may still come it knows nothing. */
  #allowed(second: number): number {
    return this.options.ratio * this.#sum(this.#requests, second) + this.options.minPerSecond * WINDOW_S
  }

  #sum(counts: readonly number[], second: number): number {
    let sum = 0
    for (let back = 0; back < WINDOW_S; back++) sum += counts[(second - back + SPAN_S) % SPAN_S]!
    return sum
  }

  /** Seconds that have left the window make room for those that may be booked from now on. */
  #advance(): void {
    const second = secondOf(this.clock)
    for (let left = Math.min(SPAN_S, second - this.#second); left > 0; left--) {
      const free = (second - left + 1 + MAX_AHEAD_S) % SPAN_S
      this.#requests[free] = 0
      this.#retries[free] = 0
    }
    this.#second = second
  }
}

/**
 * Whether it is the budget alone that forbids another attempt; if none does, the attempt counts, and what it has to wait for
 * its turn is noted. Who has somewhere else to go does not wait.
 */
export function isOverBudget(
  budget: RetryBudget | undefined,
  entry: Entry,
  { retryable, mendable }: ProviderFailure,
  nowMs: number,
): boolean {
  const { fallbacks, recall, deadlineMs = Number.POSITIVE_INFINITY, pool } = entry.spec
  entry.budgetMs = 0
  if (!budget || !retryable || !mendable || entry.attempt >= pool.config.retry.maxAttempts) return false
  const waitMs = budget.book(fallbacks || recall ? 0 : deadlineMs - nowMs)
  entry.budgetMs = waitMs ?? 0
  return waitMs === undefined
}

function secondOf(clock: Pick<Clock, 'now'>): number {
  return Math.max(0, Math.floor(clock.now() / 1000))
}
