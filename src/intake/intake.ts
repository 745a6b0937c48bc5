import { AsyncResource } from 'node:async_hooks'
import PQueue, { type QueueAddOptions } from 'p-queue'
import type { Clock, TimerHandle } from '../clock.js'
import { FairQueue, type Place } from '../dispatch/fair-queue.js'
import { HeadgateError } from '../errors.js'
import type { RunningRequest } from '../request/request.js'
import { type JobOptions, JobQueue } from './job-queue.js'

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

interface Ticket {
  readonly admission: Admission
  /** Whoever listens finds the producer's context, not that of the request that made room. */
  readonly scope: AsyncResource
  readonly resolve: (running: RunningRequest) => void
  readonly reject: (error: HeadgateError) => void
  place: Place<Ticket> | undefined
  timer: TimerHandle | undefined
  onAbort: (() => void) | undefined
}

/**
 * One pool's intake: a gate in front of a bounded p-queue.
 *
 * Invariants: never more than `maxQueued` requests queued, never more than `maxActive` past the queue; a place is
 * taken before its producer wakes, so no later producer can slip in; while anyone waits at the gate, newcomers join the
 * line. (p-queue's `onSizeLessThan` wakes all who wait at once, and is no admission control.)
 */
export class Intake {
  readonly #jobs: JobQueue
  readonly #queue: PQueue<JobQueue, JobOptions & QueueAddOptions>
  readonly #gate = new FairQueue<Ticket>()
  #closed: HeadgateError | undefined
  #lastJob = 0

  constructor(
    private readonly name: string,
    private readonly clock: Clock,
    private readonly maxQueued: number,
    maxActive: number,
  ) {
    let jobs: JobQueue | undefined
    const queueClass = class extends JobQueue {
      constructor() {
        super()
        jobs = this
      }
    }
    this.#queue = new PQueue({ concurrency: maxActive, queueClass })
    this.#jobs = jobs!
    // A job left the queue: its place is free.
    this.#queue.on('active', () => this.#fill())
  }

  get queued(): number {
    return this.#queue.size
  }

  get active(): number {
    return this.#queue.pending
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
    if (this.#closed) return Promise.reject(this.#closed)
    if (admission.signal?.aborted) return Promise.reject(cancelledAtGate())
    const running = this.tryEnter(admission)
    if (running) return Promise.resolve(running)
    if (this.#gate.size >= MAX_AT_GATE) {
      const message = `pool ${this.name}: ${MAX_AT_GATE} producers wait already`
      return Promise.reject(new HeadgateError('QUEUE_FULL', message, { retryable: true, ...hintOf(admission) }))
    }
    return new Promise((resolve, reject) => this.#line(admission, resolve, reject))
  }

  /** Turns everyone at the gate away, and whoever comes later. */
  close(reason: HeadgateError): void {
    this.#closed = reason
    for (let ticket = this.#gate.shift(); ticket; ticket = this.#gate.shift()) {
      this.#drop(ticket)
      ticket.reject(reason)
    }
  }

  #line(admission: Admission, resolve: Ticket['resolve'], reject: Ticket['reject']): void {
    const scope = new AsyncResource('HeadgateTicket')
    const ticket: Ticket = { admission, scope, resolve, reject, place: undefined, timer: undefined, onAbort: undefined }
    ticket.place = this.#gate.add(admission.flowKey, admission.weight, 1, ticket)
    if (admission.deadlineMs !== undefined) this.#awaitDeadline(ticket, admission.deadlineMs)
    if (admission.signal) this.#awaitAbort(ticket, admission.signal)
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
    if (!ticket.place || !this.#gate.remove(ticket.place)) return
    this.#drop(ticket)
    ticket.reject(error)
  }

  #fill(): void {
    while (this.#gate.size > 0 && this.#queue.size < this.maxQueued) {
      const ticket = this.#gate.shift()!
      this.#drop(ticket)
      ticket.resolve(ticket.scope.runInAsyncScope(this.#enter, this, ticket.admission))
    }
  }

  #enter(admission: Admission): RunningRequest {
    const running = admission.start()
    const { flowKey, weight } = admission
    // p-queue makes a symbol of it, hence not the request's own.
    const id = String(++this.#lastJob)
    running.onDoneWhileQueued = () => {
      this.#jobs.remove(id)
      this.#fill()
    }
    void this.#queue.add(running.admit, { id, flowKey, weight })
    return running
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
