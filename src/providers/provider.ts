import type { ErrorCode, Failure } from '../../machines/vocabulary.js'
import type { LimitObservation } from './limit-headers.js'

/** LLM tokens as the provider counted them. */
export interface Usage {
  readonly promptTokens: number
  readonly completionTokens: number
  readonly totalTokens: number
}

/** What a failure means for the limits, as in the table of provider errors. */
export type FailureClass =
  | 'RLR' // too many requests
  | 'RLT' // too many LLM tokens
  | 'CONC' // too many in flight
  | 'OVL' // the provider is overloaded
  | 'QUOTA' // a long quota (hours, days) is used up
  | 'BAL' // balance or plan
  | 'RESTRICTED' // fair-use restriction: retrying deepens it
  | 'AUTH'
  | 'BAD' // bad request
  | 'FILTER' // content
  | 'CTX' // context too long
  | 'SRV' // the provider failed
  | 'TMO' // no answer in time
  | 'NET' // the connection failed or was cut
  | 'UNKNOWN'

/** A failed attempt, classified. */
export interface ProviderFailure extends Failure {
  readonly class: FailureClass
  readonly message: string
  /** HTTP status, where a response arrived; of an error that came under a success, the one that it would usually have. */
  readonly status?: number
  /** The provider's own code (GLM `"1302"`), where it gave one. */
  readonly providerCode?: string
  /** The provider's error body, as it came. */
  readonly body?: unknown
  readonly cause?: unknown
}

export interface ResponseHead {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

export interface ProviderResponse extends ResponseHead {
  /** Parsed JSON, or the text where it is none. */
  readonly body: unknown
  /** The body as it came, where it was read whole. */
  readonly text?: string
}

/**
 * When an answer's tokens count against a limit of LLM tokens; those of the prompt always do, on arrival.
 * - `up-front`: all that `max_tokens` allows, with the prompt.
 * - `as-produced`: those that were written, as they are.
 * - `never`: the limit is about prompts alone.
 */
export type CompletionCount = 'up-front' | 'as-produced' | 'never'

/** One event of a stream; `json` is its data parsed, undefined where that is none. */
export interface EndEvent {
  readonly event?: string | undefined
  readonly data?: string | undefined
  readonly json: unknown
}

/** What one provider is like: where to call, how it errs, what it counts. Pure; no I/O. */
export interface Provider {
  readonly name: string
  /** Undefined where only the pool can say it. */
  readonly baseURL: string | undefined
  /** What the pool's base URL has to be where any without a query won't do. */
  readonly baseURLForm?: { readonly expected: string; readonly accepts: (url: URL) => boolean }
  /** Path of chat completions below `baseURL`. */
  readonly chatPath: string
  /** Whether it limits requests in flight; then `adaptive` is on by default. */
  readonly limitsConcurrency: boolean
  /** Whether its own count is corrected downwards when a request used less than it reserved. */
  readonly refundsEstimate: boolean
  /** Default `up-front`. */
  readonly countsCompletion?: CompletionCount
  /**
   * Whether a stream has usage only where `stream_options.include_usage` asks for it. Default false: some refuse a field
   * that they don't know.
   */
  readonly streamUsageOnRequest?: boolean
  authHeaders(apiKey: string): Record<string, string>
  /** Where a GET that costs nothing tells whether the key is good. Left out: `/models` below the base URL. */
  keyUrl?(baseURL: string): string
  /**
   * Classifies a response; undefined when it is a success (an error may come under HTTP 200).
   * `nowMs` (since the Unix epoch, by default `Date.now()`) turns a date the provider names into `retryAfterMs`.
   */
  classify(response: ProviderResponse, nowMs?: number): ProviderFailure | undefined
  /**
   * Classifies one chunk of a stream, parsed; undefined when it is no error, as is what is no object (a heartbeat, `[DONE]`).
   * Left out: a chunk is read as the body of a 200 would be.
   */
  classifyChunk?(chunk: unknown, nowMs?: number): ProviderFailure | undefined
  /** Usage in a whole (not streamed) response body. */
  usage(body: unknown): Usage | undefined
  /**
   * Usage of a stream as of this chunk, parsed; undefined where it says nothing. The last one holds.
   * `before` is what earlier chunks gave: where a provider spreads it over several, they have to be put together.
   * Left out: a chunk is read as a whole body would be.
   */
  streamUsage?(chunk: unknown, before?: Usage): Usage | undefined
  /**
   * Whether a streamed answer of `chat` is whole once this event has come: one whose connection closes before was broken off.
   * Left out: by what its wire ends with, OpenAI's `[DONE]` or a `finish_reason`, Anthropic's `message_stop`.
   */
  endsStream?(event: EndEvent): boolean
  /** What the headers of any response, also of a refusal, say about the limits. Left out: nothing. */
  limitObservations?(response: Pick<ProviderResponse, 'headers'>, nowMs?: number): readonly LimitObservation[]
}

/** A provider that leaves nothing about streams or counting to the defaults, as all built-in ones. */
export type Profile = Provider &
  Required<Pick<Provider, 'countsCompletion' | 'streamUsageOnRequest' | 'classifyChunk' | 'streamUsage' | 'endsStream'>>

const CLASS_TO_CODE: Readonly<Record<FailureClass, ErrorCode>> = {
  RLR: 'RATE_LIMITED',
  RLT: 'RATE_LIMITED',
  CONC: 'RATE_LIMITED',
  OVL: 'OVERLOADED',
  QUOTA: 'QUOTA_EXHAUSTED',
  BAL: 'INSUFFICIENT_BALANCE',
  RESTRICTED: 'RATE_LIMITED',
  AUTH: 'AUTH',
  BAD: 'BAD_REQUEST',
  FILTER: 'CONTENT_FILTERED',
  CTX: 'CONTEXT_TOO_LONG',
  SRV: 'PROVIDER_ERROR',
  TMO: 'TIMEOUT',
  NET: 'PROVIDER_ERROR',
  UNKNOWN: 'PROVIDER_ERROR',
}

const RETRYABLE: ReadonlySet<FailureClass> = new Set(['RLR', 'RLT', 'CONC', 'OVL', 'SRV', 'TMO', 'NET'])
const UNMENDABLE: ReadonlySet<FailureClass> = new Set(['AUTH', 'BAD', 'FILTER', 'CTX'])

/** Builds a failure whose code, `retryable` and `mendable` follow from its class. */
export function failureOf(
  failureClass: FailureClass,
  message: string,
  details: Partial<Omit<ProviderFailure, 'class' | 'code' | 'retryable' | 'mendable' | 'message'>> = {},
): ProviderFailure {
  return {
    ...details,
    class: failureClass,
    code: CLASS_TO_CODE[failureClass],
    retryable: RETRYABLE.has(failureClass),
    mendable: !UNMENDABLE.has(failureClass),
    message,
  }
}
