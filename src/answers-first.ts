import type { KnownAnswer } from './answers/answer.js'
import type { Answering, Lease } from './answers/answering.js'
import type { AnswerCache } from './answers/answer-cache.js'
import { type Flight, Flights } from './flights.js'
import type { Admission, Intake } from './intake/intake.js'
import { HeadgateError } from './errors.js'
import type { EventStream } from './request/event-stream.js'
import type { Outcome, RunningRequest } from './request/request.js'
import type { CallEnd } from './request/work.js'
import type { Tape } from './request/tape.js'

type Standing = Parameters<Intake['tryEnter']>[1]

/** A request on its way to its pool's queue. */
export interface Admitted {
  /** Waits for a place. */
  enter(): Promise<RunningRequest>
  /** Takes a place now, or none. */
  tryEnter(standing?: Standing): RunningRequest | undefined
  /** Takes none: for an answer that only others know. */
  known?(): Promise<RunningRequest | undefined>
}

export interface Asking {
  /** Of what determines the answer. */
  readonly key: string
  readonly admission: Admission
  /** On to the pool's queue, with a start of one's own. */
  readonly place: (start: Admission['start']) => Admitted
  readonly tape: Tape | undefined
  /** Of a streamed answer. */
  readonly reader: EventStream | undefined
}

/**
 * Looks for an answer that is there already, or on its way to somebody else, before a request takes a place in its queue;
 * and keeps those that come.
 */
export class AnswersFirst {
  readonly #flights: Flights | undefined
  /** For the fleet, of those who ask for it. */
  readonly #leases = new WeakMap<RunningRequest, Lease>()

  constructor(
    private readonly cache: AnswerCache,
    coalesce: boolean,
    private readonly answering: Answering | undefined,
  ) {
    this.#flights = coalesce ? new Flights() : undefined
  }

  admitted(asking: Asking): Admitted {
    return {
      enter: () => this.#enter(asking),
      tryEnter: (standing) => this.#tryEnter(asking, standing),
      ...(this.cache.isShared && { known: () => this.#fromOthers(asking) }),
    }
  }

  async #fromOthers({ key, admission }: Asking): Promise<RunningRequest | undefined> {
    const known = await this.cache.find(key)
    return known && !admission.signal?.aborted ? answered(admission.start(), known) : undefined
  }

  async #enter(asking: Asking): Promise<RunningRequest> {
    const { key, admission, place } = asking
    const running = this.#fromMemory(asking) ?? this.#follow(asking)
    if (running) return running
    const flight = this.#flights?.open(key)
    flight?.lead(asking.tape)
    const start = () => (this.answering ? this.#held(key, admission.start(), flight, 'again') : admission.start())
    try {
      if (this.cache.isShared && !admission.signal?.aborted) {
        const known = await this.cache.find(key)
        if (known) {
          flight?.land(known)
          return answered(admission.start(), known)
        }
      }
      return this.#led(asking, await place(start).enter(), flight)
    } catch (error) {
      flight?.handOver()
      throw error
    }
  }

  #tryEnter(asking: Asking, standing: Standing): RunningRequest | undefined {
    const known = this.#fromMemory(asking) ?? this.#follow(asking)
    if (known) return known
    const { key, admission, place } = asking
    let flight: Flight | undefined
    const start = () => {
      flight = this.#flights?.open(key)
      flight?.lead(asking.tape)
      return this.cache.isShared ? this.#held(key, admission.start(), flight) : admission.start()
    }
    const running = place(start).tryEnter(standing)
    return running && this.#led(asking, running, flight)
  }

  /** Needs no place: nobody waits for it. */
  #fromMemory({ key, admission }: Asking): RunningRequest | undefined {
    if (admission.signal?.aborted) return undefined
    const known = this.cache.peek(key)
    return known && answered(admission.start(), known)
  }

  /** Waits in `queued` for the answer to somebody else's request, without a place. */
  #follow(asking: Asking): RunningRequest | undefined {
    const { key, admission } = asking
    const flight = this.#flights?.get(key)
    if (!flight?.hasRoom || admission.signal?.aborted) return undefined
    const running = admission.start()
    const goOn = (its: Flight | undefined) => void this.#goOn(asking, running, its)
    flight.follow({ running, goOn, hasBegun: () => asking.reader?.begun ?? false })
    return running
  }

  /** One that followed takes the way of all others; with a flight it leads it from now on. */
  async #goOn(asking: Asking, running: RunningRequest, flight?: Flight): Promise<void> {
    const { key, place } = asking
    flight?.lead(asking.tape)
    this.#led(asking, running, flight)
    const start = () => (flight && this.answering ? this.#held(key, running, flight, 'again') : running)
    const placed = place(start)
    try {
      if (!placed.tryEnter('accepted before')) await placed.enter()
    } catch {
      // Closed or full, and it was accepted already: it ends, as it would when the gate closes.
      running.request.cancel()
    }
  }

  /** It has its place already: when its turn comes, it first asks who else may know. */
  #held(key: string, running: RunningRequest, flight: Flight | undefined, count?: 'again'): RunningRequest {
    const { request } = running
    const admit = running.admit.bind(running)
    running.admit = async () => {
      const known = await this.#await(key, running, count)
      // It ended meanwhile, or is on its way to: then this does no more than wait for that.
      if (!known || request.state !== 'queued') return admit()
      if (flight) flight.known = known
      running.answer(known)
    }
    return running
  }

  /** The fleet's answer, waited for while another process asks for it; undefined when this one is to ask. */
  async #await(key: string, running: RunningRequest, count?: 'again'): Promise<KnownAnswer | undefined> {
    const { cache, answering } = this
    const { request } = running
    for (let again = count; ; again = 'again') {
      const known = await cache.find(key, again)
      if (known || !answering || request.state !== 'queued') return known
      const lease = await answering.take(key)
      if (lease === 'nobody') return undefined
      if (lease === 'elsewhere') {
        if (await answering.waitFor(key, request.outcome)) return undefined
        continue
      }
      // The former holder may have brought it between the look and the lease.
      const late = await cache.find(key, 'again')
      if (!late && request.state === 'queued') this.#leases.set(running, lease)
      else lease.end(late ? 'answered' : 'left')
      return late
    }
  }

  /** Passes on what comes of the call that this request makes. */
  #led({ key, tape }: Asking, running: RunningRequest, flight: Flight | undefined): RunningRequest {
    const conclude = (own: KnownAnswer | undefined, otherwise: 'left' | 'failed', error?: HeadgateError) => {
      const kept = own && this.cache.keep(key, own)
      const lease = this.#leases.get(running)
      if (lease) void Promise.resolve(kept).then(() => lease.end(own ? 'answered' : otherwise))
      const known = own ?? flight?.known
      if (known) flight?.land(known)
      else if (otherwise === 'left') flight?.handOver()
      else flight?.fail(error)
    }
    let isLeft = false
    running.onLeave = (call) => {
      isLeft = flight?.keep(call) ?? false
      if (isLeft) void call.end.then((end) => conclude(wholeIn(end, tape), ...verdictOn(end)))
      return isLeft
    }
    void running.request.outcome.then((outcome) => {
      if (!isLeft) conclude(answerOf(outcome, tape), isAboutTheCaller(outcome) ? 'left' : 'failed', outcome.error)
    })
    return running
  }
}

function answered(running: RunningRequest, known: KnownAnswer): RunningRequest {
  running.answer(known)
  return running
}

/** Whether it ended as it did because of who asked: then the answer may still be had. */
function isAboutTheCaller({ status, reason }: Outcome): boolean {
  return status === 'cancelled' || reason === 'deadline'
}

/** What came whole from the request's own call. */
function answerOf({ status, via, httpStatus, value }: Outcome, tape: Tape | undefined): KnownAnswer | undefined {
  return status === 'completed' && via === undefined ? knownOf(tape, value, httpStatus) : undefined
}

/** What came whole of a call that the request had left. */
function wholeIn(end: CallEnd, tape: Tape | undefined): KnownAnswer | undefined {
  return end.type === 'completed' ? knownOf(tape, end.value, end.httpStatus) : undefined
}

/** The last who waited for it may have cut it; and a permission that ran out says nothing about the question. */
function verdictOn(end: CallEnd): [verdict: 'left' | 'failed', error?: HeadgateError] {
  if (end.type === 'completed') return ['failed']
  if (end.type === 'unsent' || end.failure.code === 'CANCELLED') return ['left']
  return ['failed', new HeadgateError(end.failure.code ?? 'PROVIDER_ERROR', end.failure.message)]
}

function knownOf(tape: Tape | undefined, value: unknown, httpStatus = 200): KnownAnswer | undefined {
  const events = value === undefined ? tape?.events : undefined
  return value !== undefined || events ? { httpStatus, value, events } : undefined
}
