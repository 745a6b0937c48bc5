import { AsyncResource } from 'node:async_hooks'
import PQueue, { type QueueAddOptions } from 'p-queue'
import type { Clock, TimerHandle } from '../clock.js'
import { FairQueue, type Line, type Place } from '../dispatch/fair-queue.js'
import { HeadgateError } from '../errors.js'
import type { RunningRequest, Seat } from '../request/request.js'
import { type JobOptions, JobQueue, type Owner, type WaitingJob } from './job-queue.js'

/** Producers that may wait for a place; beyond it they are turned away, because memory ends too. */
const MAX_AT_GATE = 1_000_000

export interface Admission {
  readonly flowKey: string
  readonly weight: number
  /** Local time after which waiting at the gate is over; undefined for never. */
  readonly deadlineMs: number | undefined
  readonly signal: AbortSignal | undefined
  /** How long it would wait if it came now, in ms: for whoever is turned away. */
  waitMs(): number
  /** Creates the request; called in the same turn in which its place becomes free. */
  start(): RunningRequest
}

/** Who waits for a place. Told once, in one way or the other. */
export interface Entering {
  entered(running: RunningRequest): void
  turnedAway(error: HeadgateError): void
}

/** A wait at the gate. Whoever listens finds the producer's context, not that of the request that made room. */
class Ticket extends AsyncResource implements Place<Ticket> {
  line: Line<Ticket> | undefined = undefined
  cost = 0
  at = 0
  order = 0
  timer: TimerHandle | undefined = undefined
  onAbort: (() => void) | undefined = undefined

  constructor(
    readonly admission: Admission,
    readonly entering: Entering,
  ) {
    super('HeadgateTicket')
  }
}

/** A place in the queue, and then among the active. */
class PlaceTaken implements Seat, Owner {
  waiting: WaitingJob | undefined = undefined
  isActive = false

  constructor(private readonly onLeave: (seat: PlaceTaken) => void) {}

  leave(): void {
    this.onLeave(this)
  }
}

/**
 * One pool's intake: a gate in front of a bounded p-queue.
 *
 * Invariants: never more than `maxQueued` requests queued, never more than `maxActive` past the queue; a place is
 * taken before its producer wakes, so no later producer can slip in; while anyone waits at the gate, newcomers join the
 * line. (p-queue's `onSizeLessThan` wakes all who wait at once, and is no admission control.) Its jobs are over once their
 * request is on its way, and it pauses while enough are: a job held open for as long as its request lives would weigh
 * more than all else that is kept of that.
 */
export class Intake {
  readonly #jobs: JobQueue
  readonly #queue: PQueue<JobQueue, JobOptions & QueueAddOptions>
  readonly #gate = new FairQueue<Ticket>()
  readonly #onLeave = (seat: PlaceTaken): void => this.#leaves(seat)
  #closed: HeadgateError | undefined
  #active = 0
  #resumes = false

  constructor(
    private readonly name: string,
    private readonly clock: Clock,
    private readonly maxQueued: number,
    private readonly maxActive: number,
  ) {
    let jobs: JobQueue | undefined
    const queueClass = class extends JobQueue {
      constructor() {
        super()
        jobs = this
      }
    }
    this.#queue = new PQueue({ queueClass })
    this.#jobs = jobs!
    // A job left the queue: its place is free.
    this.#queue.on('active', () => this.#fill())
  }

  get queued(): number {
    return this.#queue.size
  }

  get active(): number {
    return this.#active
  }

  get atGate(): number {
    return this.#gate.size
  }

  /**
   * Takes a place now, or returns undefined at once. Throws CANCELLED for a signal that fired before: it won't again.
   * A closed gate lets through what goes on with a request that was accepted before.
   */
  tryEnter(admission: Admission, standing: 'new' | 'accepted before' = 'new'): RunningRequest | undefined {
    if (admission.signal?.aborted) throw cancelledAtGate()
    if ((this.#closed && standing === 'new') || this.#gate.size > 0 || this.#queue.size >= this.maxQueued)
      return undefined
    return this.#enter(admission)
  }

  /**
   * Waits for a place. Rejects with CANCELLED (signal, close), DEADLINE_EXCEEDED or QUEUE_FULL (gate full) when there
   * is none; then the request was never accepted.
   */
  enter(admission: Admission): Promise<RunningRequest> {
    return new Promise((entered, turnedAway) => this.enterFor(admission, { entered, turnedAway }))
  }

  /** The same for who needs no promise of it. */
  enterFor(admission: Admission, entering: Entering): void {
    const refusal = this.#closed ?? (admission.signal?.aborted ? cancelledAtGate() : undefined)
    const running = refusal ? undefined : this.tryEnter(admission)
    if (running) entering.entered(running)
    else if (refusal) entering.turnedAway(refusal)
    else if (this.#gate.size < MAX_AT_GATE) this.#line(new Ticket(admission, entering))
    else {
      const message = `pool ${this.name}: ${MAX_AT_GATE} producers wait already`
      entering.turnedAway(new HeadgateError('QUEUE_FULL', message, { retryable: true, ...hintOf(admission) }))
    }
  }

  /** Turns everyone at the gate away, and whoever comes later. */
  close(reason: HeadgateError): void {
    this.#closed = reason
    for (let ticket = this.#gate.shift(); ticket; ticket = this.#gate.shift()) {
      this.#drop(ticket)
      ticket.entering.turnedAway(reason)
    }
  }

  #line(ticket: Ticket): void {
    const { flowKey, weight, deadlineMs, signal } = ticket.admission
    this.#gate.add(flowKey, weight, 1, ticket)
    if (deadlineMs !== undefined) this.#awaitDeadline(ticket, deadlineMs)
    if (signal) this.#awaitAbort(ticket, signal)
  }

  #awaitDeadline(ticket: Ticket, deadlineMs: number): void {
    const miss = () => {
      const message = `pool ${this.name}: the deadline passed before the queue had a place`
      const hint = hintOf(ticket.admission)
      this.#leave(ticket, new HeadgateError('DEADLINE_EXCEEDED', message, { retryable: true, ...hint }))
    }
    ticket.timer = this.clock.setTimeout(miss, deadlineMs - this.clock.now())
  }

  #awaitAbort(ticket: Ticket, signal: AbortSignal): void {
    ticket.onAbort = () => this.#leave(ticket, cancelledAtGate())
    signal.addEventListener('abort', ticket.onAbort, { once: true })
  }

  #leave(ticket: Ticket, error: HeadgateError): void {
    if (!this.#gate.remove(ticket)) return
    this.#drop(ticket)
    ticket.entering.turnedAway(error)
  }

  #fill(): void {
    while (this.#gate.size > 0 && this.#queue.size < this.maxQueued) {
      const ticket = this.#gate.shift()!
      this.#drop(ticket)
      ticket.entering.entered(ticket.runInAsyncScope(this.#enter, this, ticket.admission))
    }
  }

  #enter(admission: Admission): RunningRequest {
    const running = admission.start()
    const { flowKey, weight } = admission
    const seat = new PlaceTaken(this.#onLeave)
    running.seat = seat
    // With room and nobody before it, p-queue would start the job at once: it need not be made.
    if (this.#queue.size === 0 && !this.#queue.isPaused) {
      this.#admit(running, seat)
      return running
    }
    // p-queue would number it, and nobody asks by the number.
    void this.#queue.add(async () => this.#admit(running, seat), { id: '', flowKey, weight, owner: seat })
    return running
  }

  #admit(running: RunningRequest, seat: PlaceTaken): void {
    seat.isActive = true
    // What p-queue made of the job would live as long as the request.
    seat.waiting = undefined
    if (++this.#active >= this.maxActive) this.#queue.pause()
    running.admit()
  }

  #leaves(seat: PlaceTaken): void {
    if (!seat.isActive) {
      this.#jobs.takeOut(seat)
      this.#fill()
      return
    }
    this.#active--
    if (this.#resumes || !this.#queue.isPaused) return
    this.#resumes = true
    // Not here: it may be one actor's action, which is no place to start another actor's.
    queueMicrotask(() => {
      this.#resumes = false
      this.#queue.start()
    })
  }

  #drop({ timer, onAbort, admission }: Ticket): void {
    if (timer !== undefined) this.clock.clearTimeout(timer)
    if (onAbort) admission.signal?.removeEventListener('abort', onAbort)
  }
}

function hintOf(admission: Admission): { readonly retryAfterMs?: number } {
  const retryAfterMs = Math.ceil(admission.waitMs())
  return Number.isFinite(retryAfterMs) ? { retryAfterMs } : {}
}

function cancelledAtGate(): HeadgateError {
  return new HeadgateError('CANCELLED', 'the request was cancelled while it waited for a place in the queue')
}
