import { MAX_PROBE_MS, PROBE_MS } from './store.js'

/**
 * A concurrency limit as the provider last proved it: additive increase, multiplicative decrease (Chiu & Jain 1989).
 * Absent while the configured limit holds.
 */
export interface Ceiling {
  readonly value: number
  readonly cutAtMs: number
  /** Last change of `value`. */
  readonly changedAtMs: number
  /** Time between probes. */
  readonly spacingMs: number
  /** Whether the last change was a probe that nothing has refused so far. */
  readonly probing: boolean
}

export function effectiveLimit(configured: number, ceiling: Ceiling | undefined): number {
  return ceiling ? Math.min(configured, ceiling.value) : configured
}

/**
 * The ceiling after a refusal for too many in flight; undefined when this refusal teaches nothing new, because its call
 * was granted no later than the last cut. A refused probe restores the proven level, anything else halves.
 */
export function cutCeiling(
  ceiling: Ceiling | undefined,
  configured: number,
  inFlight: number,
  grantedAtMs: number,
  nowMs: number,
): Ceiling | undefined {
  if (ceiling && grantedAtMs <= ceiling.cutAtMs) return undefined
  const current = effectiveLimit(configured, ceiling)
  const probing = ceiling?.probing ?? false
  const value = Math.max(1, probing ? current - 1 : Math.floor(Math.min(current, inFlight) / 2))
  const spacingMs = probing ? Math.min(MAX_PROBE_MS, (ceiling?.spacingMs ?? PROBE_MS) * 2) : PROBE_MS
  return { value, cutAtMs: nowMs, changedAtMs: nowMs, spacingMs, probing: false }
}

/** The ceiling after a look at the time: one more when a probe is due and at least half is used; undefined when whole again. */
export function growCeiling(
  ceiling: Ceiling,
  configured: number,
  inFlight: number,
  nowMs: number,
): Ceiling | undefined {
  const due = nowMs - ceiling.changedAtMs >= ceiling.spacingMs && inFlight * 2 >= ceiling.value
  if (!due) return ceiling
  if (ceiling.value + 1 >= configured) return undefined
  const spacingMs = ceiling.probing ? PROBE_MS : ceiling.spacingMs
  return { ...ceiling, value: ceiling.value + 1, changedAtMs: nowMs, spacingMs, probing: true }
}
