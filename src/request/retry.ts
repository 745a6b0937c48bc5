import type { Failure } from '../../machines/vocabulary.js'

export interface RetryPolicy {
  /** Attempts in all. */
  readonly maxAttempts: number
  readonly baseMs: number
  readonly capMs: number
}

/** More would make 0 × Infinity of a base of 0. */
const MAX_DOUBLINGS = 52

/**
 * Exponential backoff with full jitter (Brooker, "Exponential Backoff and Jitter", 2015): uniform in
 * [0, min(cap, base · 2^(attempt−1))], and never earlier than the provider asked.
 * `attempt` is the attempt that failed, from 1; `random` is uniform in [0, 1).
 */
export function backoffMs(attempt: number, failure: Failure | undefined, policy: RetryPolicy, random: number): number {
  const ceilingMs = Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(MAX_DOUBLINGS, attempt - 1))
  return Math.max(failure?.retryAfterMs ?? 0, random * ceilingMs)
}
