import { answerIn, type KnownAnswer, textOf } from './answers/answer.js'
import type { HeadgateError } from './errors.js'
import type { LeftCall, RunningRequest } from './request/request.js'
import type { Tape } from './request/tape.js'

/** Requests that may wait for one call. Whoever comes after them makes a call of its own. */
const MAX_FOLLOWERS = 10_000

/** A request that waits for another one's call, and what sends it on its own way. */
interface Follower {
  readonly running: RunningRequest
  readonly goOn: (flight: Flight | undefined) => void
  /** Whether it passed on a part of a streamed answer. */
  readonly hasBegun: () => boolean
}

/**
 * One question that is being asked, and all who wait for its answer.
 * Invariants: one call at a time is made for it, and it isn't cut while anybody waits for it; a follower that ends by
 * itself (its caller, its deadline) leaves nothing behind; every other one is answered, or goes on, when the flight is
 * over; who has a part of a streamed answer never gets a part of another.
 */
export class Flight {
  /** The answer, where it was not the leader's own call that brought it. */
  known: KnownAnswer | undefined
  readonly #followers = new Set<Follower>()
  #tape: Tape | undefined
  /** The call of a leader who left it to the followers. */
  #left: LeftCall | undefined
  #isCut = false

  constructor(private readonly onOver: () => void) {}

  /** None where what was streamed so far is not known any more. */
  get hasRoom(): boolean {
    const isWhole = this.#tape === undefined || this.#tape.events !== undefined
    return this.#followers.size < MAX_FOLLOWERS && isWhole && !this.#isCut
  }

  /** Whose call it is from now on; a streamed answer is listened to as it comes. */
  lead(tape: Tape | undefined): void {
    this.#tape = tape
    this.#left = undefined
    for (const { running } of this.#followers) tape?.listen(running.listener)
  }

  follow(follower: Follower): void {
    this.#followers.add(follower)
    this.#tape?.listen(follower.running.listener)
    void follower.running.request.outcome.then(() => {
      this.#followers.delete(follower)
      if (!this.#left || this.#isCut || this.#followers.size > 0) return
      this.#isCut = true
      this.#left.cut()
    })
  }

  /** The leader leaves a call that runs: whether anybody wants what comes of it. Then the last who does ends it. */
  keep(call: LeftCall): boolean {
    if (![...this.#followers].some(isWaiting)) return false
    this.#left = call
    this.#tape?.detach()
    return true
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

  /**
   * The provider would not answer: each finds out for itself what that means, through its own pool's limits, but for
   * those who have a part of the answer. `error` is left out where it came whole, and only was too long to be kept.
   */
  fail(error?: HeadgateError): void {
    for (const { running, goOn, hasBegun } of this.#end()) {
      if (!hasBegun()) goOn(undefined)
      else if (error) running.breakOff(error)
      else running.answer({ httpStatus: 200, value: undefined, events: [] })
    }
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
