import type { Dimension, GroupSpec, LimitSpec } from '../../src/limits/store.js'
import { Fleet, type Wait } from './fleet.js'

export const MINUTE_MS = 60_000
/** So long that no lease is renewed in a test that isn't about leases. */
export const LONG_LEASE_MS = 3_600_000
export const HOLD_MS = 200

export function rate(id: string, limit: number, windowMs = MINUTE_MS, dimension: Dimension = 'requests'): LimitSpec {
  return { id, dimension, limit, windowMs, holdMs: HOLD_MS, adaptive: false }
}

export function slots(id: string, limit: number): LimitSpec {
  return { id, dimension: 'concurrency', limit, windowMs: 0, holdMs: HOLD_MS, adaptive: true }
}

/** Two pools that draw on all of these limits. */
export function groupOf(...limits: LimitSpec[]): GroupSpec {
  const draws = limits.map((_, index) => index)
  return { namespace: 'test', group: 'g', pools: ['p0', 'p1'], limits, draws: [draws, draws] }
}

/** Limit 0 counts requests, limit 1 calls in flight. */
export function fleetOf(requests: number, concurrency: number, windowMs = MINUTE_MS): Fleet {
  return new Fleet(groupOf(rate('requests', requests, windowMs), slots('calls', concurrency)))
}

/** Limit 0 counts LLM tokens, limit 1 calls in flight. */
export function tokenFleetOf(tokens: number, concurrency: number, windowMs = MINUTE_MS): Fleet {
  return new Fleet(groupOf(rate('tokens', tokens, windowMs, 'tokens'), slots('calls', concurrency)))
}

/** Nothing but calls in flight is limited. */
export function slotFleetOf(concurrency: number): Fleet {
  return new Fleet(groupOf(slots('calls', concurrency)))
}

export const granted = (waits: readonly Wait[]) => waits.map(({ grants }) => grants.length)
