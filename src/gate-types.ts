import type { CacheCounts } from './answers/answer-cache.js'
import type { ShadowCounts } from './dispatch/shadow.js'
import type { Priority } from './intake/input.js'
import type { DispatcherState, OutcomeStatus, RequestState } from '../machines/vocabulary.js'
import type { CalibrationStats } from './providers/calibration.js'

/** One pool as this process sees it. */
export interface PoolStats {
  readonly dispatcher: DispatcherState
  readonly atGate: number
  readonly queued: number
  readonly active: number
  readonly states: Readonly<Partial<Record<RequestState, number>>>
  readonly outcomes: Readonly<Record<OutcomeStatus, number>>
  /** Provider answers with HTTP 429, by code. */
  readonly provider429: Readonly<Record<string, number>>
  /** Limits that the provider has shown to be lower than configured, by limit id. */
  readonly ceilings: Readonly<Record<string, number>>
  /** Processes of the fleet that keep other limits in this pool's group: other dimensions, windows, guard or slack. */
  readonly configuredOtherwise: number
  /** Left of the fleet's cool-down, in ms; `Infinity` while paused, 0 for neither. */
  readonly coolDownMs: number
  /** What was learned of how many LLM tokens requests take, by model. */
  readonly estimates: Readonly<Record<string, CalibrationStats>>
  /** With `shadow`: what governing would have delayed. */
  readonly shadow?: ShadowCounts
}

/** What a wait is estimated for. */
export interface WaitCost {
  /** LLM tokens. */
  readonly tokens?: number
  readonly tenant?: string
  readonly priority?: Priority
}

/** The one queue of a model that several pools serve. */
export interface ModelStats {
  readonly pools: readonly string[]
  readonly atGate: number
  readonly queued: number
  readonly active: number
}

export interface GateStats {
  readonly pools: Readonly<Record<string, PoolStats>>
  /** Models that several pools serve. */
  readonly models: Readonly<Record<string, ModelStats>>
  /** Exchanges with the store, and grants received, since the start. */
  readonly roundTrips: number
  readonly granted: number
  /** With `cache`. */
  readonly cache?: CacheCounts
  /** Retries since the start: made, and left undone because the gate's retry budget was spent. */
  readonly retries: { readonly made: number; readonly overBudget: number }
}

/** New values for limits that the pool is configured with. */
export interface LimitChange {
  readonly requests?: { readonly limit: number; readonly per: number | string }
  readonly tokens?: { readonly limit: number; readonly per: number | string }
  readonly concurrency?: number
}
