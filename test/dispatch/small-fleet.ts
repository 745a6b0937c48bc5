import type { Charge } from '../../src/limits/store.js'
import { groupOf, rate, slots } from '../limits/driver.js'
import { Fleet, type Wait } from './fleet.js'

export const MINUTE_MS = 60_000
/** So long that no lease is renewed in a test that isn't about leases. */
export const LONG_LEASE_MS = 3_600_000

/** Limit 0 counts requests, limit 1 calls in flight. */
export function fleetOf(requests: number, concurrency: number): Fleet {
  return new Fleet(groupOf(rate('requests', requests, MINUTE_MS), slots('calls', concurrency)))
}
export const ONE: readonly Charge[] = [
  [0, 1],
  [1, 1],
]
export const granted = (waits: readonly Wait[]) => waits.map(({ grants }) => grants.length)
