import type { DispatcherState } from '../../machines/vocabulary.js'
import type { Clock } from '../clock.js'
import type { GroupSpec, GroupStore } from '../limits/store.js'

export interface DispatcherOptions {
  readonly spec: GroupSpec
  readonly store: GroupStore
  readonly clock: Clock
  readonly slackMs: number
  readonly leaseMs: number
  /** Keep a dead process's slots until its calls' deadlines. */
  readonly holdUntilCallDeadline: boolean
  /** Called for what an operator should hear of. */
  readonly onNews: (news: DispatcherNews) => void
}

export interface DispatcherNews {
  readonly group: string
  readonly type: 'state' | 'fenced' | 'clock-distrusted' | 'store-error'
  readonly state: DispatcherState
  readonly cause?: unknown
}
