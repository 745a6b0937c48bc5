import type { RequestEvent } from '../../machines/request-machine.js'
import type { RequestState } from '../../machines/vocabulary.js'
import type { KnownAnswer } from '../answers/answer.js'
import type { HeadgateError } from '../errors.js'
import type { BeginNote } from './degrading.js'
import { type Entry, leaveSeat, promiseOf } from './entry.js'
import { chunksOf } from './event-stream.js'
import { breakWith, giveKnown, listenerOf } from './known.js'
import type {
  AnswerStream,
  ChatCompletionChunk,
  GateRequest,
  Listening,
  Outcome,
  RunningRequest,
  Seat,
} from './request.js'
import type { Listener } from './tape.js'

/** Where producer and queue have their say. */
export interface RunningEnds {
  readonly send: (entry: Entry, event: RequestEvent) => void
  readonly begin: (entry: Entry, note: BeginNote) => void
}

/** What the producer sees of a request that was started. */
class Handle implements GateRequest {
  #cancel: (() => void) | undefined = undefined

  constructor(
    private readonly entry: Entry,
    private readonly ends: RunningEnds,
  ) {}

  get id(): string {
    return this.entry.spec.id
  }

  get actor(): GateRequest['actor'] {
    return this.entry.actor
  }

  get pool(): string {
    return this.entry.spec.pool.config.name
  }

  get state(): RequestState {
    return this.actor.getSnapshot().value
  }

  get outcome(): Promise<Outcome> {
    return promiseOf(this.entry)
  }

  get answerText(): string | undefined {
    return this.entry.text
  }

  get stream(): AnswerStream | undefined {
    return this.entry.spec.reader
  }

  get chunks(): AsyncIterable<ChatCompletionChunk> {
    return chunksOf(this.entry.spec.reader)
  }

  /** Not bound to the handle: it may be passed on by itself. */
  get cancel(): () => void {
    this.#cancel ??= () => this.ends.send(this.entry, { type: 'CANCEL' })
    return this.#cancel
  }
}

/** What the queue sees of it. */
class Running implements RunningRequest {
  #request: GateRequest | undefined = undefined
  #listener: Listener | undefined = undefined

  constructor(
    private readonly entry: Entry,
    private readonly ends: RunningEnds,
  ) {}

  get request(): GateRequest {
    this.#request ??= new Handle(this.entry, this.ends)
    return this.#request
  }

  admit(): void {
    // It waited for a place, and didn't live to have it.
    if (this.#state === 'done') leaveSeat(this.entry)
    else this.ends.send(this.entry, { type: 'ADMITTED' })
  }

  answer(known: KnownAnswer): void {
    if (this.#state !== 'queued') return
    giveKnown(this.entry, known, this.ends.begin, 'completed')
    this.ends.send(this.entry, { type: 'ANSWER_KNOWN', via: 'cache' })
  }

  get listener(): Listener {
    this.#listener ??= listenerOf(this.entry, this.ends.begin, (error) => this.breakOff(error))
    return this.#listener
  }

  breakOff(error: HeadgateError): void {
    if (this.#state !== 'queued') return
    breakWith(this.entry, error)
    this.ends.send(this.entry, { type: 'ADMITTED' })
  }

  set onLeave(ask: RunningRequest['onLeave']) {
    this.entry.onLeave = ask
  }

  set seat(seat: Seat) {
    this.entry.seat = seat
  }

  set listening(listening: Listening) {
    const { entry } = this
    // A pool that pauses for long turns its requests away as they come.
    if (entry.outcome) listening.ended(entry.outcome)
    else entry.listening = listening
  }

  get #state(): RequestState {
    return this.entry.actor.getSnapshot().value
  }
}

/** What the producer and the queue see of a request that was started. */
export function runningOf(entry: Entry, ends: RunningEnds): RunningRequest {
  const { reader, signal } = entry.spec
  if (reader || signal) {
    const cancel = () => ends.send(entry, { type: 'CANCEL' })
    if (reader) reader.onAbandon = cancel
    if (signal) {
      entry.onAbort = cancel
      signal.addEventListener('abort', cancel, { once: true })
    }
  }
  return new Running(entry, ends)
}
