import type { DegradedVia } from '../../machines/vocabulary.js'
import { HeadgateError } from '../errors.js'
import type { ResponseHead } from '../providers/provider.js'
import type { StreamEvent } from '../providers/sse.js'
import type { ChatCompletionChunk } from './request.js'

/** Characters that wait for their reader before the provider is held up. */
const MAX_WAITING_CHARS = 64 * 1024
/** What an event takes besides its data. */
const EVENT_CHARS = 64

/** A streamed answer that has begun. */
export interface StreamStart {
  /** Undefined where no provider answered: a degraded message. */
  readonly head: ResponseHead | undefined
  readonly attempts: number
  readonly queuedMs: number
  readonly waitedMs: number
  /** Where it comes from, if not from the request's own call. */
  readonly via?: DegradedVia | undefined
  /** How the request ends, where it is known by then. */
  readonly outcome?: 'completed' | 'degraded' | undefined
}

/** Where a request puts its streamed answer. */
export interface StreamTarget {
  /** Whether anything went to the reader: from then on nothing is retried. */
  readonly begun: boolean
  begin(start: StreamStart): void
  put(event: StreamEvent): void
  /** Resolves when the reader has caught up, or won't any more; undefined where it has. */
  room(): Promise<void> | undefined
  end(error?: HeadgateError): void
}

/** The stream of a request for another one that stands in for it: that ends only its own part of it. */
export class LentStream implements StreamTarget {
  constructor(
    private readonly lender: StreamTarget,
    readonly begin: (start: StreamStart) => void,
  ) {}

  get begun(): boolean {
    return this.lender.begun
  }

  put(event: StreamEvent): void {
    this.lender.put(event)
  }

  room(): Promise<void> | undefined {
    return this.lender.room()
  }

  end(): void {}
}

/**
 * The way of one streamed answer from its call to its one reader.
 *
 * Invariants: nothing is put in before `begin`, nothing after `end`; at most MAX_WAITING_CHARS and what one read from
 * the socket holds wait for the reader; a reader who goes away before the end is told to the call.
 */
export class EventStream implements StreamTarget {
  /** Resolves when the answer begins; with undefined when it ended before. */
  readonly started: Promise<StreamStart | undefined>
  #resolveStarted: (start: StreamStart | undefined) => void = () => {}
  #begun = false
  #waiting: StreamEvent[] = []
  #waitingChars = 0
  #ended = false
  #error: HeadgateError | undefined
  #taken = false
  #onRoom: (() => void) | undefined
  #onNews: (() => void) | undefined
  #onAbandon = () => {}

  constructor() {
    this.started = new Promise((resolve) => {
      this.#resolveStarted = resolve
    })
  }

  get begun(): boolean {
    return this.#begun
  }

  /** What is put in and not read yet. */
  get waitingChars(): number {
    return this.#waitingChars
  }

  set onAbandon(tell: () => void) {
    this.#onAbandon = tell
  }

  begin(start: StreamStart): void {
    this.#begun = true
    this.#resolveStarted(start)
  }

  put(event: StreamEvent): void {
    if (this.#ended) return
    this.#waiting.push(event)
    this.#waitingChars += sizeOf(event)
    this.#wakeReader()
  }

  room(): Promise<void> | undefined {
    if (this.#ended || this.#waitingChars <= MAX_WAITING_CHARS) return undefined
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }

  /** What waits is still read; then the reader gets the error, if there is one. */
  end(error?: HeadgateError): void {
    if (this.#ended) return
    this.#ended = true
    this.#error = error
    this.#resolveStarted(undefined)
    this.#onRoom?.()
    this.#wakeReader()
  }

  /** All events as they came. There is one reader. */
  events(): AsyncGenerator<StreamEvent, void, undefined> {
    if (this.#taken)
      throw new HeadgateError('BAD_REQUEST', 'a streamed answer has one reader, and this has one already')
    this.#taken = true
    return this.#read()
  }

  async *#read(): AsyncGenerator<StreamEvent, void, undefined> {
    try {
      for (;;) {
        const event = this.#waiting.shift()
        if (event) {
          this.#waitingChars -= sizeOf(event)
          if (this.#waitingChars <= MAX_WAITING_CHARS) this.#onRoom?.()
          yield event
        } else if (this.#ended) {
          if (this.#error) throw this.#error
          return
        } else {
          await new Promise<void>((resolve) => {
            this.#onNews = resolve
          })
        }
      }
    } finally {
      if (!this.#ended) this.#onAbandon()
    }
  }

  #wakeReader(): void {
    this.#onNews?.()
    this.#onNews = undefined
  }
}

function sizeOf({ data = '' }: StreamEvent): number {
  return EVENT_CHARS + data.length
}

/**
 * Iterates over what the provider sent as JSON: no comments, heartbeats or mark of the end.
 * A request that does not stream has none, and says so.
 */
export async function* chunksOf(stream: EventStream | undefined): AsyncGenerator<ChatCompletionChunk, void, undefined> {
  if (!stream) throw new HeadgateError('BAD_REQUEST', 'chunks: the request was spawned without stream: true')
  for await (const { json } of stream.events()) if (json !== undefined) yield json as ChatCompletionChunk
}
