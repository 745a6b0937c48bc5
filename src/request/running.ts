import type { RequestEvent } from '../../machines/request-machine.js'
import type { RequestState } from '../../machines/vocabulary.js'
import type { KnownAnswer } from '../answers/answer.js'
import type { HeadgateError } from '../errors.js'
import type { BeginNote } from './degrading.js'
import type { Entry } from './entry.js'
import { chunksOf } from './event-stream.js'
import { breakWith, giveKnown, listenerOf } from './known.js'
import type { AnswerStream, ChatCompletionChunk, GateRequest, Outcome, RunningRequest } from './request.js'
import type { Listener } from './tape.js'

/** Where producer and queue have their say. */
export interface RunningEnds {
  readonly send: (entry: Entry, event: RequestEvent) => void
  readonly begin: (entry: Entry, note: BeginNote) => void
}

/** What the producer sees of a request that was started. */
class Handle implements GateRequest {
  readonly id: string
  readonly actor: GateRequest['actor']
  readonly stream: AnswerStream | undefined
  readonly #entry: Entry

  constructor(
    entry: Entry,
    readonly outcome: Promise<Outcome>,
    readonly cancel: () => void,
  ) {
    this.id = entry.spec.id
    this.actor = entry.actor
    this.stream = entry.spec.reader
    this.#entry = entry
  }

  get pool(): string {
    return this.#entry.spec.pool.config.name
  }

  get state(): RequestState {
    return this.actor.getSnapshot().value
  }

  get chunks(): AsyncIterable<ChatCompletionChunk> {
    return chunksOf(this.#entry.spec.reader)
  }
}

/** What the queue sees of it. */
class Running implements RunningRequest {
  #listener: Listener | undefined = undefined

  constructor(
    private readonly entry: Entry,
    private readonly ends: RunningEnds,
    readonly request: GateRequest,
  ) {}

  admit = (): Promise<void> => {
    // It waited for a place, and didn't live to have it.
    if (this.request.state === 'done') return Promise.resolve()
    const ended = new Promise<void>((done) => {
      this.entry.onEnd = done
    })
    this.ends.send(this.entry, { type: 'ADMITTED' })
    return ended
  }

  answer(known: KnownAnswer): void {
    if (this.request.state !== 'queued') return
    giveKnown(this.entry, known, this.ends.begin, 'completed')
    this.ends.send(this.entry, { type: 'ANSWER_KNOWN', via: 'cache' })
  }

  get listener(): Listener {
    this.#listener ??= listenerOf(this.entry, this.ends.begin, (error) => this.breakOff(error))
    return this.#listener
  }

  breakOff(error: HeadgateError): void {
    if (this.request.state !== 'queued') return
    breakWith(this.entry, error)
    this.ends.send(this.entry, { type: 'ADMITTED' })
  }

  set onLeave(ask: RunningRequest['onLeave']) {
    this.entry.onLeave = ask
  }

  set onDoneWhileQueued(hear: () => void) {
    this.entry.onEnd = hear
  }
}

/** What the producer and the queue see of a request that was started. */
export function runningOf(entry: Entry, outcome: Promise<Outcome>, ends: RunningEnds): RunningRequest {
  const { reader, signal } = entry.spec
  // Not bound to the handle: it may be passed on by itself.
  const cancel = () => ends.send(entry, { type: 'CANCEL' })
  if (reader) reader.onAbandon = cancel
  if (signal) {
    signal.addEventListener('abort', cancel, { once: true })
    void outcome.then(() => signal.removeEventListener('abort', cancel))
  }
  return new Running(entry, ends, new Handle(entry, outcome, cancel))
}
