import type { HeadgateError } from '../../errors.js'
import type { GateRequest, Outcome } from '../../request/request.js'
import { type Answer, codeOf, errorBody } from './openai-error.js'

const CLIENT_CLOSED = 499

/** Nothing but another request would mend these. Without an error status of the provider's, an SDK must not retry them. */
const CLIENT_CODES: ReadonlySet<string> = new Set(['BAD_REQUEST', 'CONTENT_FILTERED', 'CONTEXT_TOO_LONG'])

export interface AnswerContext {
  /** Whether the client hung up. */
  readonly gone: boolean
  /** The pool's own, which no answer may repeat. */
  readonly apiKey: string | undefined
}

/** What the client gets for a request that is done. */
export function answerOf({ id }: GateRequest, outcome: Outcome, { gone, apiKey }: AnswerContext): Answer {
  const { status, body } = respond(outcome, gone)
  const { error, attempts, queuedMs, waitedMs, calledMs, backedOffMs, usage } = outcome
  const retryAfterMs = status >= 400 ? error?.retryAfterMs : undefined
  return {
    status,
    body: status >= 400 ? withoutKey(body, apiKey) : body,
    headers: {
      'x-headgate-request-id': id,
      'x-headgate-outcome': outcome.status,
      'x-headgate-attempts': String(attempts),
      'x-headgate-queued-ms': String(Math.round(queuedMs)),
      'x-headgate-waited-ms': String(Math.round(waitedMs)),
      ...(retryAfterMs !== undefined && { 'retry-after': String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
    },
    log: {
      requestId: id,
      outcome: outcome.status,
      attempts,
      queuedMs,
      waitedMs,
      calledMs,
      backedOffMs,
      ...usage,
      ...(error && { code: codeOf(error), providerCode: error.providerCode }),
    },
  }
}

function respond(outcome: Outcome, gone: boolean): { status: number; body: string } {
  const { error } = outcome
  switch (outcome.status) {
    case 'completed':
    case 'degraded':
      return { status: outcome.httpStatus ?? 200, body: JSON.stringify(outcome.value) }
    case 'expired':
      return ownError(504, error, 'the deadline passed')
    case 'cancelled':
      // To whom still listens it is this process that went away.
      return ownError(gone ? CLIENT_CLOSED : 503, error, 'the request was cancelled')
    case 'failed':
      return failed(error)
  }
}

/** The provider's own words where there are any; an error that came under HTTP 200 still is one. */
function failed(error: HeadgateError | undefined): { status: number; body: string } {
  const { status = 0, cause, code = 'PROVIDER_ERROR' } = error ?? {}
  const isErrorStatus = status >= 400 && status <= 599
  if (!isErrorStatus) return ownError(CLIENT_CODES.has(code) ? 400 : 502, error, 'the provider failed')
  if (isBody(cause)) return { status, body: JSON.stringify(cause) }
  return ownError(status, error, 'the provider failed')
}

function ownError(status: number, error: HeadgateError | undefined, fallback: string) {
  const code = error ? codeOf(error) : 'provider_error'
  return { status, body: errorBody(status, error?.message ?? fallback, code) }
}

/** A parsed body; an Error is what broke a connection, and not for clients. */
function isBody(cause: unknown): boolean {
  return typeof cause === 'object' && cause !== null && !(cause instanceof Error)
}

/** Providers quote the key that they refuse. */
function withoutKey(body: string, apiKey: string | undefined): string {
  return apiKey ? body.replaceAll(JSON.stringify(apiKey).slice(1, -1), '[key]') : body
}
