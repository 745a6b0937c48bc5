import { createActor, type InspectionEvent, type Observer } from 'xstate'
import { type RequestContext, type RequestEvent, requestMachine } from '../../machines/request-machine.js'
import type { RequestState } from '../../machines/vocabulary.js'
import type { Clock } from '../clock.js'
import type { Grant } from '../dispatch/grant.js'
import type { GateEmitter } from '../events.js'
import { Registry } from '../registry.js'
import { Asking } from './asking.js'
import { Attempt, type AttemptEnds } from './attempt.js'
import { consequencesOf, withoutKey } from './consequences.js'
import { type BeginNote, Degrading } from './degrading.js'
import {
  attemptFailed,
  conclude,
  type Entry,
  internalFailure,
  leaveSeat,
  newEntry,
  outcomeEvent,
  outcomeOf,
  type RequestSpec,
} from './entry.js'
import { withKnownSteps } from './known-steps.js'
import { Follower, type Heard } from './follower.js'
import { Inspection } from './inspection.js'
import { LiveRequests } from './live.js'
import type { RunningRequest } from './request.js'
import { backoffMs } from './retry.js'
import { isOverBudget, type RetryBudget } from './retry-budget.js'
import { type RunningEnds, runningOf } from './running.js'
import { grantEndOf } from './settlement.js'
import { targetOf } from './target.js'
import type { CallEnd } from './work.js'

/** Node's timers ring up to 1 ms early, and no two clocks run alike. */
const GUARD_MARGIN_MS = 2

export interface RunnerOptions {
  readonly clock: Clock
  readonly events: GateEmitter
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** What all requests together may retry; left out: as much as each one may. */
  readonly retryBudget?: RetryBudget
  /** XState's inspection observer, for whoever watches the machines. */
  readonly inspect?: ((event: InspectionEvent) => void) | Observer<InspectionEvent> | undefined
}

/**
 * Runs requests: one root actor each (a parent would cost more with every live child), all on one machine whose effects
 * are provided here, once. The registry finds a request's payload by the id in its machine's context.
 */
export class RequestRunner {
  readonly #options: RunnerOptions
  readonly #entries = new Registry<string, Entry>()
  readonly #machine: typeof requestMachine
  readonly #idle: (() => void)[] = []
  readonly #degrading: Degrading
  readonly #asking: Asking
  readonly live: LiveRequests
  readonly inspection = new Inspection(this.#entries)
  readonly #heard: Heard = {
    step: (entry, { value, context }) => this.#follow(entry, value, context),
    crash: (entry, error) => this.#crash(entry, error),
  }
  readonly #ends: RunningEnds & AttemptEnds = {
    send: (entry, event) => this.#send(entry, event),
    begin: (entry, note) => this.#begin(entry, note),
    ended: (attempt, end) => this.#ended(attempt, end),
  }

  constructor(options: RunnerOptions) {
    this.#options = options
    this.#asking = new Asking(options.clock, this.#ends.send)
    this.live = new LiveRequests(this.#entries, options.clock)
    this.#degrading = new Degrading({ clock: options.clock, send: this.#ends.send, begin: this.#ends.begin })
    const effect =
      (run: (entry: Entry) => void) =>
      ({ context }: { context: RequestContext }) => {
        const entry = this.#entries.get(context.requestId)
        if (!entry) return
        entry.attempt = context.attempt
        run(entry)
      }
    const machine = requestMachine.provide({
      actions: {
        requestToken: effect((entry) => {
          if (!this.#degrading.divert(entry)) this.#asking.begin(entry)
        }),
        withdrawToken: effect((entry) => this.#asking.end(entry)),
        startCall: effect((entry) => this.#startCall(entry)),
        abortCall: effect((entry) => this.#abortCall(entry)),
        startBackoff: effect((entry) => this.#startBackoff(entry)),
        stopBackoff: effect((entry) => this.#options.clock.clearTimeout(entry.backoffTimer)),
        startDegrading: effect((entry) => this.#degrading.start(entry)),
        stopDegrading: effect((entry) => this.#degrading.stop(entry)),
      },
    })
    this.#machine = withKnownSteps(machine)
  }

  /** Requests not done yet. */
  get size(): number {
    return this.#entries.size
  }

  /** Starts a request in `queued`. */
  start(spec: RequestSpec): RunningRequest {
    const { clock, inspect } = this.#options
    const input = {
      requestId: spec.id,
      pool: spec.pool.config.name,
      tenant: spec.tenant,
      maxAttempts: spec.pool.config.retry.maxAttempts,
    }
    const actor = createActor(this.#machine, { id: spec.id, input, clock, ...(inspect && { inspect }) })
    const entry = newEntry(spec, actor)
    this.#entries.set(spec.id, entry)
    this.inspection.begin(spec.id, actor)
    // Who stands in for another is no traffic of its own.
    if (spec.fallbackFor === undefined) this.#options.retryBudget?.earn()
    this.#emitTransition(entry, null, 'xstate.init', 0)
    actor.subscribe(new Follower(entry, this.#heard))
    actor.start()
    if (spec.deadlineMs !== undefined) this.#awaitDeadline(entry, spec.deadlineMs)
    return runningOf(entry, this.#ends)
  }

  /** A pool turned out to pause for longer than its requests wait unless they said so. */
  paused(pool: string): void {
    // Not in the middle of what its dispatcher does.
    queueMicrotask(() => this.#degrading.divertFrom(pool, this.#entries))
  }

  /** Resolves when every request is done. */
  async idle(): Promise<void> {
    while (this.#entries.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  /** Cancels every request. */
  cancelAll(): void {
    for (const entry of [...this.#entries]) this.#send(entry, { type: 'CANCEL' })
  }

  /** One event at a time: what an effect sends waits until the event that caused it is through. None to what is done. */
  #send(entry: Entry, event: RequestEvent): void {
    if (entry.processing) {
      entry.inbox ??= []
      entry.inbox.push(event)
      return
    }
    entry.processing = true
    let next: RequestEvent | undefined = event
    while (next && this.#entries.has(entry.spec.id)) {
      entry.event = next.type
      entry.actor.send(next)
      next = entry.inbox?.shift()
    }
    // Events sent to the actor from outside can only be a cancellation.
    entry.event = 'CANCEL'
    entry.processing = false
  }

  #awaitDeadline(entry: Entry, deadlineMs: number): void {
    const { clock } = this.#options
    entry.deadlineTimer = clock.setTimeout(() => this.#send(entry, { type: 'DEADLINE' }), deadlineMs - clock.now())
  }

  #follow(entry: Entry, to: RequestState, context: RequestContext): void {
    const from = entry.state
    if (to === from) return
    const nowMs = this.#options.clock.now()
    entry.msIn[from] += nowMs - entry.sinceMs
    entry.sinceMs = nowMs
    entry.state = to
    this.#emitTransition(entry, from, entry.event, context.attempt)
    if (to === 'done') this.#finish(entry)
  }

  #emitTransition(entry: Entry, from: RequestState | null, event: string, attempt: number): void {
    const { id, pool, tenant } = entry.spec
    const { toldPool: movedFrom } = entry
    entry.toldPool = pool.config.name
    const { events } = this.#options
    if (events.listenerCount('transition') === 0) return
    const hasMoved = movedFrom !== entry.toldPool
    // One literal: an object made from another costs more than all the rest.
    events.emitSafely('transition', {
      requestId: id,
      pool: entry.toldPool,
      movedFrom: hasMoved ? movedFrom : undefined,
      target: from === null || hasMoved ? targetOf(entry.spec) : undefined,
      tenant,
      from,
      to: entry.state,
      event,
      attempt,
      atMs: this.#options.clock.wallMs(),
    })
  }

  #startCall(entry: Entry): void {
    if (!entry.grant) throw new Error('calling was entered without a grant')
    entry.call = new Attempt(entry, entry.grant, this.#ends)
    entry.call.start()
  }

  #ended(attempt: Attempt, end: CallEnd): void {
    const { entry, spec, grant } = attempt
    // Before the slot goes to the next in line, who need not find out again that a key is refused.
    if (end.type === 'failed' && !spec.stream?.begun) entry.detour = spec.detours?.failed(spec, end.failure)
    this.#settle(spec, grant, end)
    // The request may have left `calling` meanwhile: then this end is nobody's news.
    if (entry.call !== attempt) return
    entry.call = undefined
    entry.grant = undefined
    if (end.type !== 'unsent') entry.comeBack = undefined // A retry waits anew.
    this.#report(entry, end)
  }

  #report(entry: Entry, end: CallEnd): void {
    if (end.type === 'unsent') this.#send(entry, { type: 'TOKEN_VOID' })
    else if (end.type === 'completed') {
      entry.value = end.value
      entry.text = end.text
      entry.httpStatus = end.httpStatus
      entry.usage = end.usage
      this.#send(entry, { type: 'CALL_COMPLETED' })
    } else {
      const said = withoutKey(end.failure, entry.spec.pool.config.apiKey)
      entry.failure = said
      entry.usage = end.usage
      this.#options.events.emitSafely('attempt-failed', attemptFailed(entry, said))
      // Who has a part of an answer already can't be given another.
      const { retryBudget } = this.#options
      const final = entry.spec.stream?.begun && { retryable: false, mendable: false }
      const failure = { ...said, ...(final || (entry.detour?.mends && { retryable: true, mendable: true })) }
      const overBudget = isOverBudget(retryBudget, entry, failure, this.#options.clock.now())
      this.#send(entry, { type: 'CALL_FAILED', failure, overBudget })
    }
  }

  #begin({ spec, attempt, msIn, helped }: Entry, note: BeginNote): void {
    spec.stream?.begin({
      ...note,
      attempts: attempt + helped.attempts + (note.attempts ?? 0),
      queuedMs: msIn.queued + helped.queuedMs + (note.queuedMs ?? 0),
      waitedMs: msIn['waiting-for-token'] + helped.waitedMs + (note.waitedMs ?? 0),
    })
  }

  #abortCall(entry: Entry): void {
    const { call } = entry
    entry.call = undefined
    entry.grant = undefined
    call?.leave()
  }

  /** Ends the grant: at once after a whole answer, `guardMs` after the socket closed when the call was cut. */
  #settle(spec: RequestSpec, grant: Grant, end: CallEnd): void {
    const { clock } = this.#options
    const { permits, config } = spec.pool
    const grantEnd = grantEndOf(spec, end)
    const settle = () => permits.settle(grant, grantEnd)
    if (end.type !== 'failed' || end.sent !== 'cut') settle()
    else void (end.over ?? Promise.resolve()).then(() => clock.setTimeout(settle, config.guardMs + GUARD_MARGIN_MS))
  }

  #startBackoff(entry: Entry): void {
    const { clock, random } = this.#options
    const { spec, failure } = entry
    // Where several pools serve the model, the one that refused is held back by its cool-down, not this request.
    const hint = spec.detours && failure && consequencesOf(failure).coolDownMs > 0 ? undefined : failure
    const ownMs = entry.detour?.atOnce ? 0 : backoffMs(entry.attempt, hint, spec.pool.config.retry, random())
    const delayMs = Math.max(ownMs, entry.budgetMs)
    // A wait that ends after the deadline helps nobody.
    const overdue = spec.deadlineMs !== undefined && clock.now() + delayMs >= spec.deadlineMs
    if (overdue) this.#send(entry, { type: 'DEADLINE' })
    else {
      const elapsed = () => this.#send(entry, { type: 'BACKOFF_ELAPSED' })
      entry.backoffTimer = clock.setTimeout(elapsed, this.#degrading.backoffMs(entry, delayMs))
    }
  }

  #finish(entry: Entry): void {
    const { spec, actor } = entry
    this.#options.clock.clearTimeout(entry.deadlineTimer)
    this.#entries.delete(spec.id)
    this.inspection.end(spec.id)
    if (this.#entries.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
    const outcome = outcomeOf(entry, actor.getSnapshot().output)
    leaveSeat(entry)
    spec.stream?.end(outcome.status === 'degraded' ? undefined : outcome.error)
    conclude(entry, outcome)
    this.#options.events.emitSafely('outcome', outcomeEvent(spec, outcome))
  }

  /** An effect threw: a defect, but the request still ends, and nothing it held is kept. */
  #crash(entry: Entry, error: unknown): void {
    if (!this.#entries.has(entry.spec.id)) return
    entry.failure = internalFailure(error)
    this.#asking.end(entry)
    if (entry.grant && !entry.call) entry.spec.pool.permits.settle(entry.grant, { unsent: true })
    this.#abortCall(entry)
    this.#finish(entry)
  }
}
