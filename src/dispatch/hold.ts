import type { ClockSync } from './clock-sync.js'
import type { Grant } from './grant.js'
import type { SessionOptions } from './session.js'

/** What waits, which is looked at only where slots are held for calls. */
export interface Waiting {
  /** The longest that a call of any of it may take; 0 where nothing waits. */
  readonly longestCallMs: number
}

/** Store time until which a process's slots are to be held should it die at `nowMs`; 0 for its lease's end. */
export function holdUntilMs(
  options: Pick<SessionOptions, 'holdUntilCallDeadline' | 'leaseMs' | 'slackMs'>,
  open: Iterable<Grant>,
  waiting: Waiting,
  sync: ClockSync,
  nowMs: number,
): number {
  const { holdUntilCallDeadline, leaseMs, slackMs } = options
  if (!holdUntilCallDeadline || !sync.synced) return 0
  // What waits may be granted, and this process cut off before it can tell. None begins once the lease may be over.
  const { longestCallMs } = waiting
  let localMs = longestCallMs === 0 ? 0 : nowMs + leaseMs + longestCallMs
  // By this process's clock: a call goes on for as long as it would have, though the store's clock jumped meanwhile.
  for (const { pool, boundAtMs, callTimeoutMs } of open) {
    localMs = Math.max(localMs, boundAtMs + slackMs[pool]! + callTimeoutMs)
  }
  return localMs === 0 ? 0 : Math.ceil(sync.latest(localMs))
}
