import type { Dispatcher } from './dispatch/dispatcher.js'
import type { Shadow } from './dispatch/shadow.js'
import type { Intake } from './intake/intake.js'
import type { Estimator } from './providers/estimator.js'
import type { PoolRuntime } from './request/entry.js'

/** What a gate has of each pool. */
export interface GatePool {
  readonly runtime: PoolRuntime
  readonly intake: Intake
  readonly dispatcher: Dispatcher
  readonly estimator: Estimator
  /** In place of the dispatcher where nothing may be delayed. */
  readonly shadow: Shadow | undefined
}

/** A model that several pools serve: its requests wait in one queue, for whichever pool grants first. */
export interface ModelRoute {
  readonly pools: readonly GatePool[]
  /** As large as the pools' own together. */
  readonly intake: Intake
}
