import { answerIn, type KnownAnswer, textOf } from './answers/answer.js'
import type { RunningRequest } from './request/request.js'

/** Requests that may wait for one call. Whoever comes after them makes a call of its own. */
const MAX_FOLLOWERS = 10_000

/** A request that waits for another one's call, and what sends it on its own way. */
interface Follower {
  readonly running: RunningRequest
  readonly goOn: (flight: Flight | undefined) => void
}

/**
 * One question that is being asked, and all who wait for its answer.
 * Invariants: one call at a time is made for it; a follower that ends by itself (its caller, its deadline) leaves nothing
 * behind; every other one is answered, or goes on, when the flight is over.
 */
export class Flight {
  /** The answer, where it was not the leader's own call that brought it. */
  known: KnownAnswer | undefined
  readonly #followers = new Set<Follower>()

  constructor(private readonly onOver: () => void) {}

  get hasRoom(): boolean {
    return this.#followers.size < MAX_FOLLOWERS
  }

  follow(follower: Follower): void {
    this.#followers.add(follower)
    void follower.running.request.outcome.then(() => this.#followers.delete(follower))
  }

  /** The answer is there: each gets a copy of its own. */
  land(known: KnownAnswer): void {
    const text = this.#followers.size > 0 ? textOf(known) : undefined
    for (const { running } of this.#end()) running.answer(text === undefined ? known : answerIn(text))
  }

  /** Who led it is gone, without an answer and without a verdict: the first who waits takes over. */
  handOver(): void {
    const heir = [...this.#followers].find(isWaiting)
    if (!heir) {
      this.#end()
      return
    }
    this.#followers.delete(heir)
    heir.goOn(this)
  }

  /** The provider would not answer: each finds out for itself what that means, through its own pool's limits. */
  fail(): void {
    for (const { goOn } of this.#end()) goOn(undefined)
  }

  #end(): Follower[] {
    const followers = [...this.#followers].filter(isWaiting)
    this.#followers.clear()
    this.onOver()
    return followers
  }
}

/** Some have ended, or are degraded, and are about to be taken off the list. */
function isWaiting({ running }: Follower): boolean {
  return running.request.state === 'queued'
}

/** The questions that this process is asking, by their keys. */
export class Flights {
  readonly #flights = new Map<string, Flight>()

  get(key: string): Flight | undefined {
    return this.#flights.get(key)
  }

  open(key: string): Flight {
    const flight = new Flight(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key)
    })
    this.#flights.set(key, flight)
    return flight
  }
}
