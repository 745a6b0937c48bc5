// What the gateway tells the dashboard's page, as server-sent events whose data is JSON. No payloads: ids, names, states, codes.
import type { DispatcherState, OutcomeStatus, RequestState } from '../../../machines/vocabulary.js'
import type { MonitoringStats } from '../../monitoring.js'

/** One step of a request's machine. */
export type Step = readonly [to: RequestState, event: string, attempt: number, atMs: number]

export interface FailedAttempt {
  readonly attempt: number
  readonly code: string
  readonly status?: number
  readonly providerCode?: string
  readonly atMs: number
}

export interface RequestEnd {
  readonly status: OutcomeStatus
  readonly queuedMs: number
  readonly waitedMs: number
  readonly calledMs: number
  readonly backedOffMs: number
  readonly atMs: number
}

/** One request as far as it was watched. */
export interface RequestView {
  readonly id: string
  readonly pool: string
  readonly tenant: string
  readonly steps: Step[]
  readonly failures: FailedAttempt[]
  end?: RequestEnd
}

/** Requests by pool and state, in this process. */
export type StateCounts = Readonly<Record<string, Readonly<Partial<Record<RequestState, number>>>>>

export interface Snapshot {
  readonly atMs: number
  readonly pid: number
  readonly host: string
  readonly counts: StateCounts
  /** Oldest first. */
  readonly requests: readonly RequestView[]
  /** Batches that this viewer was too slow for. */
  readonly missed: number
}

export interface Batch {
  readonly atMs: number
  readonly counts: StateCounts
  /** Transitions since the batch before, by `from>to`: all of them. */
  readonly flow: Readonly<Record<string, number>>
  readonly steps: readonly (readonly [id: string, pool: string, tenant: string, ...step: Step])[]
  readonly failures: readonly (readonly [id: string, failure: FailedAttempt])[]
  readonly ends: readonly (readonly [id: string, end: RequestEnd])[]
  /** Requests that began and are told of in `flow` and `counts` alone: there were too many. */
  readonly untold: number
}

/** How this process stands with its store. */
export interface Health {
  readonly sending: boolean
  readonly dispatchers: Readonly<Record<string, DispatcherState>>
}

/** By event name. */
export interface FeedEvents {
  snapshot: Snapshot
  batch: Batch
  health: Health
  stats: MonitoringStats
}
