import type { HeadgateError } from '../errors.js'
import type { Wire } from '../providers/apis.js'
import { textOf } from '../providers/sse.js'
import type { StreamStart } from '../request/event-stream.js'
import type { AnswerStream, GateRequest, Outcome } from '../request/request.js'
import { hasLeft, type Leaving, signalOf } from './leaving.js'
import { type Answer, codeOf, errorBody } from './openai-error.js'
import { wholeSeconds } from './retry-after.js'

const CLIENT_CLOSED = 499

/** Nothing but another request would mend these. Without an error status of the provider's, an SDK must not retry them. */
const CLIENT_CODES: ReadonlySet<string> = new Set(['BAD_REQUEST', 'CONTENT_FILTERED', 'CONTEXT_TOO_LONG'])
/** Of an error that came without a status, or under a success. */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  RATE_LIMITED: 429,
  QUOTA_EXHAUSTED: 429,
  OVERLOADED: 503,
}

export interface AnswerContext {
  /** Of the client. */
  readonly leaving: Leaving
  /** The pools' own, which no answer may repeat. */
  readonly apiKeys: readonly string[]
  readonly wire: Wire
  /** That was asked for, where the route says. */
  readonly model?: string | undefined
  /** How long a request would wait now where it was sent, in ms: for who is refused without a word of when to come back. */
  readonly waitMs?: () => number
}

/** What the client gets for a request: as soon as it is done, or as soon as its streamed answer begins. */
export async function answerOf(request: GateRequest, context: AnswerContext): Promise<Answer> {
  const start = await request.stream?.started
  if (start) return streamedAnswer(request, request.stream!, start, context)
  return wholeAnswer(request, await request.outcome, context)
}

function wholeAnswer(request: GateRequest, outcome: Outcome, context: AnswerContext): Answer {
  const { status, body } = respond(outcome, context, request.answerText)
  const { error } = outcome
  const retryAfterMs =
    status >= 400 ? (error?.retryAfterMs ?? (status === 429 ? context.waitMs?.() : undefined)) : undefined
  const headers = headersOf(request.id, outcome)
  headers['x-headgate-outcome'] = outcome.status
  if (outcome.via) headers['x-headgate-via'] = outcome.via
  if (retryAfterMs !== undefined) headers['retry-after'] = String(wholeSeconds(retryAfterMs))
  return {
    status,
    body: status >= 400 ? withoutKeys(body, context.apiKeys) : body,
    headers,
    log: logOf(outcome, { pool: request.pool, model: context.model, requestId: request.id }),
  }
}

/** How it ends is not known yet, except where the answer is not a call's own. */
function streamedAnswer(
  request: GateRequest,
  stream: AnswerStream,
  start: StreamStart,
  context: AnswerContext,
): Answer {
  const headers = headersOf(request.id, start)
  headers['content-type'] = 'text/event-stream; charset=utf-8'
  headers['cache-control'] = 'no-cache'
  if (start.outcome) headers['x-headgate-outcome'] = start.outcome
  if (start.via) headers['x-headgate-via'] = start.via
  return {
    status: start.head?.status ?? 200,
    headers,
    body: {
      texts: textsOf(request, stream, context),
      cancel: () => request.cancel(),
      ended: request.outcome.then((outcome) => logOf(outcome, {})),
    },
    log: { pool: request.pool, model: context.model, requestId: request.id },
  }
}

function headersOf(
  id: string,
  { attempts, queuedMs, waitedMs }: Pick<Outcome, 'attempts' | 'queuedMs' | 'waitedMs'>,
): Record<string, string> {
  return {
    'x-headgate-request-id': id,
    // Where OpenAI's SDK looks for one.
    'x-request-id': id,
    'x-headgate-attempts': String(attempts),
    'x-headgate-queued-ms': String(Math.round(queuedMs)),
    'x-headgate-waited-ms': String(Math.round(waitedMs)),
  }
}

/** Adds how it ended to what is said of a request. One object, without copies: there is a line for every request. */
function logOf(outcome: Outcome, said: Record<string, unknown>): Record<string, unknown> {
  const { via, usage, error } = outcome
  said.outcome = outcome.status
  if (via) said.via = via
  said.attempts = outcome.attempts
  said.queuedMs = toMicroseconds(outcome.queuedMs)
  said.waitedMs = toMicroseconds(outcome.waitedMs)
  said.calledMs = toMicroseconds(outcome.calledMs)
  said.backedOffMs = toMicroseconds(outcome.backedOffMs)
  Object.assign(said, usage)
  if (error) {
    said.code = codeOf(error)
    said.providerCode = error.providerCode
  }
  return said
}

/** A clock's float has 17 digits, most of which mean nothing. */
function toMicroseconds(ms: number): number {
  return Math.round(ms * 1_000) / 1_000
}

/** The events as they came. An error in the middle is one event more, and the end: the status is out already. */
async function* textsOf(request: GateRequest, stream: AnswerStream, context: AnswerContext) {
  const { leaving, wire, apiKeys } = context
  try {
    for await (const event of stream.events()) yield textOf(event)
  } catch {
    if (hasLeft(leaving)) throw signalOf(leaving).reason
    const body = errorInStream(await request.outcome, context)
    yield `${wire === 'anthropic' ? 'event: error\n' : ''}data: ${withoutKeys(body, apiKeys)}\n\n`
  }
}

/** There is no status any more that could differ from the provider's: its own words, wherever it said them. */
function errorInStream(outcome: Outcome, context: AnswerContext): string {
  const cause = outcome.status === 'failed' ? outcome.error?.cause : undefined
  return isBody(cause) && 'error' in cause ? JSON.stringify(cause) : respond(outcome, context).body
}

/** `text`: the answer as it came. Numbers beyond 2^53, which it may hold, would not survive being written anew. */
function respond(outcome: Outcome, context: AnswerContext, text?: string): { status: number; body: string } {
  const { error } = outcome
  switch (outcome.status) {
    case 'completed':
    case 'degraded':
      return { status: outcome.httpStatus ?? 200, body: text ?? JSON.stringify(outcome.value) }
    case 'expired':
      return ownError(504, error, 'the deadline passed', context)
    case 'cancelled':
      // To whom still listens it is this process that went away.
      return ownError(hasLeft(context.leaving) ? CLIENT_CLOSED : 503, error, 'the request was cancelled', context)
    case 'failed':
      return failed(error, context)
  }
}

/** The provider's own words where there are any; an error that came under HTTP 200 still is one. */
function failed(error: HeadgateError | undefined, context: AnswerContext): { status: number; body: string } {
  const { status = 0, cause, code = 'PROVIDER_ERROR' } = error ?? {}
  const isErrorStatus = status >= 400 && status <= 599
  if (!isErrorStatus) {
    const own = CLIENT_CODES.has(code) ? 400 : (STATUS_OF_CODE[code] ?? 502)
    return ownError(own, error, 'the provider failed', context)
  }
  // A completion with an error inside is no error body.
  if (isBody(cause) && !('choices' in cause)) return { status, body: JSON.stringify(cause) }
  return ownError(status, error, 'the provider failed', context)
}

function ownError(status: number, error: HeadgateError | undefined, fallback: string, { wire }: AnswerContext) {
  const code = error ? codeOf(error) : 'provider_error'
  return { status, body: errorBody(status, error?.message ?? fallback, { code, wire }) }
}

/** A parsed body; an Error is what broke a connection, and not for clients. */
function isBody(cause: unknown): cause is object {
  return typeof cause === 'object' && cause !== null && !(cause instanceof Error)
}

/** A shorter key is that of a local server, and part of common words. */
const MIN_SECRET = 8

/** Providers quote the key that they refuse. */
function withoutKeys(body: string, apiKeys: readonly string[]): string {
  const secrets = apiKeys.filter(({ length }) => length >= MIN_SECRET)
  return secrets.reduce((text, key) => text.replaceAll(JSON.stringify(key).slice(1, -1), '[key]'), body)
}
