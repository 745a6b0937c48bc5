import type { RequestEvent } from '../../machines/request-machine.js'
import type { Clock } from '../clock.js'
import { HeadgateError } from '../errors.js'
import { wireOf } from '../providers/apis.js'
import { failureOf } from '../providers/provider.js'
import { degradedAnswer, degradedEvents, messageOf } from './degraded-answer.js'
import { type Entry, leaveSeat } from './entry.js'
import { LentStream, type StreamStart } from './event-stream.js'
import { giveKnown } from './known.js'
import type { Outcome } from './request.js'

/** What is to be told when an answer begins: numbers add to the request's own. */
export type BeginNote = Pick<StreamStart, 'head'> & Partial<StreamStart>

interface DegradingTools {
  readonly clock: Clock
  readonly send: (entry: Entry, event: RequestEvent) => void
  /** Tells the reader that the streamed answer begins. */
  readonly begin: (entry: Entry, start: BeginNote) => void
}

/**
 * What a request tries in turn when its own pool can't serve it: a known answer past its time, its fallback pools, then
 * the pool's message.
 *
 * Invariants: it gives up its place in its own pool before it asks another, so that two pools never wait for each
 * other's places; one fallback at a time; who stands in for another asks nobody else, so there is no cycle.
 */
export class Degrading {
  constructor(private readonly tools: DegradingTools) {}

  start(entry: Entry): void {
    const { fallbacks, recall } = entry.spec
    if (!fallbacks && !recall) {
      this.#say(entry)
      return
    }
    if (fallbacks) leaveSeat(entry)
    // Not here: one actor's action is no place to start another actor.
    queueMicrotask(() => void this.#tryAll(entry))
  }

  stop(entry: Entry): void {
    const { helper } = entry
    entry.helper = undefined
    helper?.cancel()
  }

  /**
   * Whether the request won't wait for its pool: then it was told to go elsewhere, or that it can't be served now. A pause by
   * an operator ends whenever he says so, and is waited for.
   */
  divert(entry: Entry): boolean {
    if (entry.endedBy && entry.failure) {
      // It passed on a part of another request's answer, and there won't be more.
      this.tools.send(entry, { type: 'TOKEN_REFUSED', failure: entry.failure })
      return true
    }
    const { pool, detours } = entry.spec
    // What one of several pools said is not the others'.
    const pausedMs = detours ? detours.coolDownMs() : Math.max(pool.coolDownMs(), hintOf(entry))
    if (this.#isTooLong(entry, pausedMs)) {
      this.#refuse(entry, pausedMs)
      return true
    }
    if (!this.#comesTooLate(entry)) return false
    this.tools.send(entry, { type: 'DEADLINE' })
    return true
  }

  /** A pool pauses for long: who waits there goes too, unless it said that it will wait. */
  divertFrom(pool: string, entries: Iterable<Entry>): void {
    for (const entry of [...entries]) {
      if (entry.state !== 'waiting-for-token') continue
      if (entry.spec.detours || entry.spec.pool.config.name === pool) this.divert(entry)
    }
  }

  /** The wait before the next attempt: none for who won't wait for as long as the provider asked to. */
  backoffMs(entry: Entry, delayMs: number): number {
    return this.#isTooLong(entry, hintOf(entry)) ? 0 : delayMs
  }

  /** Who is sure to miss its deadline need not wait for it where something stands in for the answer. */
  #comesTooLate(entry: Entry): boolean {
    const { deadlineMs, fallbacks, recall } = entry.spec
    if (deadlineMs === undefined || !(fallbacks || recall || messageOf(entry.spec) !== undefined)) return false
    const waitMs = entry.spec.leastWaitMs?.() ?? 0
    return Number.isFinite(waitMs) && !this.#isInTime(entry, waitMs)
  }

  /** Who has nowhere else to go, and said for how long it will wait, does so. */
  #isTooLong(entry: Entry, pausedMs: number): boolean {
    const { fallbacks, deadlineMs, pool } = entry.spec
    if (pausedMs < pool.config.maxPauseMs || !Number.isFinite(pausedMs)) return false
    return fallbacks !== undefined || deadlineMs === undefined || !this.#isInTime(entry, pausedMs)
  }

  #isInTime({ spec: { deadlineMs } }: Entry, waitMs: number): boolean {
    return deadlineMs === undefined || this.tools.clock.now() + waitMs < deadlineMs
  }

  #refuse(entry: Entry, waitMs: number): void {
    const retryAfterMs = Math.ceil(waitMs)
    const message = `pool ${entry.spec.pool.config.name}: nothing may be sent for ${retryAfterMs} ms`
    entry.failure = failureOf('RLR', message, { retryAfterMs })
    this.tools.send(entry, { type: 'TOKEN_REFUSED', failure: entry.failure })
  }

  async #tryAll(entry: Entry): Promise<void> {
    const { stream, recall } = entry.spec
    const known = stream?.begun ? undefined : await recall?.()
    if (entry.state !== 'degraded') return
    if (!known) {
      this.#tryFrom(entry, 0)
      return
    }
    giveKnown(entry, known, this.tools.begin, 'degraded')
    this.tools.send(entry, { type: 'DEGRADE_SERVED', via: 'cache' })
  }

  #tryFrom(entry: Entry, index: number): void {
    const { spec } = entry
    const { clock, send } = this.tools
    const { fallbacks = [] } = spec
    // Who has a part of an answer already can't be given another, and whose time is up only a message helps.
    const late = spec.deadlineMs !== undefined && clock.now() >= spec.deadlineMs
    for (let next = index; next < fallbacks.length && !late && !spec.stream?.begun; next++) {
      const begin = (start: StreamStart) => this.tools.begin(entry, { ...start, via: 'fallback', outcome: 'degraded' })
      const stream = spec.stream && new LentStream(spec.stream, begin)
      const helper = fallbacks[next]!(stream)
      if (!helper) continue
      entry.helper = helper
      void helper.outcome.then((outcome) => {
        if (entry.helper !== helper) return
        entry.helper = undefined
        absorb(entry, outcome)
        if (outcome.status === 'completed') send(entry, { type: 'DEGRADE_SERVED', via: 'fallback' })
        else this.#tryFrom(entry, next + 1)
      })
      return
    }
    this.#say(entry)
  }

  #say(entry: Entry): void {
    const { spec } = entry
    const { clock, send, begin } = this.tools
    const message = messageOf(spec)
    if (message === undefined || spec.stream?.begun) {
      send(entry, { type: 'DEGRADE_EXHAUSTED' })
      return
    }
    const answer = degradedAnswer(wireOf(spec.pool.config.provider), spec.id, spec.model, message, clock.wallMs())
    entry.value = answer
    if (spec.stream) {
      begin(entry, { head: undefined, via: 'message', outcome: 'degraded' })
      for (const event of degradedEvents(answer)) spec.stream.put(event)
    }
    send(entry, { type: 'DEGRADE_SERVED', via: 'message' })
  }
}

/** How long the provider asked to stay away after the last attempt. */
function hintOf({ failure }: Entry): number {
  return failure?.retryAfterMs ?? 0
}

/** What another pool's request came to, as far as it is this one's. */
function absorb(entry: Entry, outcome: Outcome): void {
  const { helped, spec } = entry
  entry.helped = {
    attempts: helped.attempts + outcome.attempts,
    queuedMs: helped.queuedMs + outcome.queuedMs,
    waitedMs: helped.waitedMs + outcome.waitedMs,
    calledMs: helped.calledMs + outcome.calledMs,
    backedOffMs: helped.backedOffMs + outcome.backedOffMs,
  }
  if (outcome.status === 'completed') {
    entry.value = outcome.value
    entry.httpStatus = outcome.httpStatus
    entry.usage = outcome.usage
  } else if (spec.stream?.begun) {
    // The reader has a part of that answer: what broke it is what there is to say, without a body that may quote a key.
    const { code = 'PROVIDER_ERROR', message = 'the fallback failed' } = outcome.error ?? {}
    entry.endedBy = new HeadgateError(code, message)
  }
}
