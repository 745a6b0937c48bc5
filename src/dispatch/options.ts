import type { Clock } from '../clock.js'
import type { DispatcherEventNotice } from '../events.js'
import type { GroupSpec, GroupStore } from '../limits/store.js'

export interface DispatcherOptions {
  readonly spec: GroupSpec
  readonly store: GroupStore
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Unique among the processes of the fleet, for its whole life. */
  readonly name: string
  /** Of each pool, from a grant's date to the last moment its request may be sent. */
  readonly slackMs: readonly number[]
  readonly leaseMs: number
  /** How long after its lease a process cut off from the store goes on from its own floor; 0 for not at all. */
  readonly isolatedMs: number
  /** Keep a dead process's slots until its calls' deadlines. */
  readonly holdUntilCallDeadline: boolean
  /**
   * Puts off an exchange until all that asks for one with it has come. Default: until the microtasks are through, which is
   * what a virtual clock can follow.
   */
  readonly putOff?: (exchange: () => void) => void
  /** Called when a pool (its index) is known to pause, or to pause for longer. */
  readonly onCoolDown?: (pool: number) => void
  /** Called for what an operator should hear of. */
  readonly onNews: (news: DispatcherEventNotice) => void
}
