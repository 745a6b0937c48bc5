/** The states of one LLM request, in the order a smooth request passes them. */
export const REQUEST_STATES = ['queued', 'waiting-for-token', 'calling', 'backing-off', 'degraded', 'done'] as const
export type RequestState = (typeof REQUEST_STATES)[number]

/** The states of one process's dispatcher. */
export const DISPATCHER_STATES = ['connecting', 'synced', 'isolated', 'learning', 'draining', 'stopped'] as const
export type DispatcherState = (typeof DISPATCHER_STATES)[number]

/** How a request ended. */
export type OutcomeStatus = 'completed' | 'degraded' | 'failed' | 'cancelled' | 'expired'

/** Where an answer came from, if not from a call of the request's own. */
export type DegradedVia = 'cache' | 'fallback' | 'message'

/** Stable codes of every error Headgate reports. */
export const ERROR_CODES = [
  'RATE_LIMITED',
  'QUEUE_FULL',
  'DEADLINE_EXCEEDED',
  'CANCELLED',
  'AUTH',
  'BAD_REQUEST',
  'CONTENT_FILTERED',
  'CONTEXT_TOO_LONG',
  'QUOTA_EXHAUSTED',
  'INSUFFICIENT_BALANCE',
  'OVERLOADED',
  'PROVIDER_ERROR',
  'TIMEOUT',
  'STORE_UNAVAILABLE',
  'CONFIG_INVALID',
] as const
export type ErrorCode = (typeof ERROR_CODES)[number]

/**
 * What the request machine knows of a failed attempt. It carries no payload: message and cause stay in the registry.
 * - `retryable`: another attempt may succeed (after `retryAfterMs`, where the provider said so).
 * - `mendable: false`: nobody could answer this request as it stands (AUTH, BAD_REQUEST, …), so it is not degraded either.
 */
export interface Failure {
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly mendable: boolean
  /** The provider's own hint, in ms; a retry is never earlier. */
  readonly retryAfterMs?: number
}
