import type { ActorRefFrom } from 'xstate'
import type { DegradeReason, requestMachine } from '../../machines/request-machine.js'
import type { DegradedVia, OutcomeStatus, RequestState } from '../../machines/vocabulary.js'
import type { KnownAnswer } from '../answers/answer.js'
import type { HeadgateError } from '../errors.js'
import type { CallEnd } from './work.js'
import type { Listener } from './tape.js'
import type { Usage } from '../providers/provider.js'
import type { EventStream } from './event-stream.js'

/** How a request ended. Times add up to its whole life, the wait at the gate included in `queuedMs`. */
export interface Outcome<T = unknown> {
  readonly status: OutcomeStatus
  /** The provider's response (`completed`), or what stands in for it (`degraded`). */
  readonly value?: T
  /** The HTTP status of the provider's response, where a call over HTTP completed. */
  readonly httpStatus?: number
  /** What ended it; there is one unless it completed. */
  readonly error?: HeadgateError
  /** Why it was degraded: attempts or deadline ran out, or the provider refused for good. */
  readonly reason?: DegradeReason
  /** Where the answer came from, if not from a call of its own. */
  readonly via?: DegradedVia
  /** LLM tokens: estimated before, and as the provider counted them. */
  readonly usage: { readonly estimatedTokens: number } & Partial<Usage>
  readonly attempts: number
  readonly queuedMs: number
  readonly waitedMs: number
  readonly calledMs: number
  readonly backedOffMs: number
}

/** A chunk of a streamed chat completion as far as every provider agrees on it; further fields are passed through. */
export interface ChatCompletionChunk {
  readonly model: string
  readonly choices: readonly {
    readonly index: number
    readonly delta: { readonly role?: string; readonly content?: string | null }
    readonly finish_reason: string | null
  }[]
}

/** A streamed answer with comments, heartbeats and event names, and what is known when it begins. */
export type AnswerStream = Pick<EventStream, 'started' | 'events'>

/** A request that holds, or held, a place in its pool's queue. */
export interface GateRequest<T = unknown> {
  readonly id: string
  readonly state: RequestState
  /** Where it is called, or was last; before that, where the wait looked shortest. */
  readonly pool: string
  /** The request's own XState actor: `subscribe`, `on`, `getSnapshot`. */
  readonly actor: ActorRefFrom<typeof requestMachine>
  /** Never rejects. */
  readonly outcome: Promise<Outcome<T>>
  /** Of a completed call over HTTP whose answer came whole: the JSON as the provider wrote it. */
  readonly answerText: string | undefined
  /**
   * The chunks of an answer spawned with `stream: true`, as the provider sent them. There is one reader, and the provider
   * is held up while it is slow; leaving the loop cancels the request. Throws the outcome's error where it has no answer.
   */
  readonly chunks: AsyncIterable<ChatCompletionChunk>
  /** The same answer as events, for who passes it on; undefined without `stream: true`. */
  readonly stream: AnswerStream | undefined
  /** Ends the request at once, wherever it is. */
  cancel(): void
}

/** A call that runs on while the request that made it is over. */
export interface LeftCall {
  readonly end: Promise<CallEnd>
  readonly cut: () => void
}

/** A request's place: first in its queue, then among the active. */
export interface Seat {
  /** The request needs it no more, whichever way. */
  leave(): void
}

/** Who is told at once how a request ended. */
export interface Listening {
  ended(outcome: Outcome): void
}

/** A request with the handles its queue needs. */
export interface RunningRequest {
  readonly request: GateRequest
  /** Lets the request go on to the dispatcher. */
  admit(): void
  /** Ends it with an answer that is there already, while it is queued. */
  answer(known: KnownAnswer): void
  /** Begins its stream, while it is queued, with what comes of another request's call. */
  readonly listener: Listener
  /** Ends one that began so when it can't be brought to its end. */
  breakOff(error: HeadgateError): void
  /** Asked when the request leaves a call that runs. True: others want what comes of it, and it isn't cut. */
  onLeave: (call: LeftCall) => boolean
  /** Left once, when the request gives it up or is done. */
  seat: Seat | undefined
  /** For who needs no promise of it; there is one. */
  listening: Listening | undefined
}
