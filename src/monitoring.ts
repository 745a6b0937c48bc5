import type { DispatcherState, OutcomeStatus, RequestState } from '../machines/vocabulary.js'

/** How many ended in which way. */
export type OutcomeCounts = Readonly<Record<OutcomeStatus, number>>

/** Times in ms. `null` while nothing was measured; percentiles within 2 %. */
export interface TimeSummary {
  readonly mean: number | null
  readonly p50: number | null
  readonly p90: number | null
  readonly p99: number | null
}

export interface LimitStatus {
  readonly id: string
  readonly kind: 'requests' | 'tokens' | 'concurrency'
  /** Left out for concurrency. */
  readonly windowMs?: number
  readonly limit: number
  /** Spent in the window, or in flight: what is granted up to a second ahead included. Left out while nobody can tell. */
  readonly used?: number
  /** What the provider showed the limit to be, where that is lower. */
  readonly ceiling?: number
  /** The ceiling without the probe that is under way; left out without one. */
  readonly proven?: number
  /**
   * Neither spent nor free: set aside for processes that may be cut off from Redis, and promised to who is first in line.
   * Left out where it is nothing.
   */
  readonly reserved?: number
}

export interface TenantStatus extends OutcomeCounts {
  readonly tokensUsed: number
  /** Of the pool's LLM tokens, or of its answered requests where no tokens are counted: 0 to 1. */
  readonly share: number
}

export interface PoolStatus extends OutcomeCounts {
  /**
   * Answered by a model, of all that ended but cancelled ones: completed, or degraded by way of cache or fallback. Who was
   * given the degraded message was not. `null` before the first.
   */
  readonly successRate: number | null
  /** Provider answers with HTTP 429, by code: in all, and in the last hour. */
  readonly provider429: Readonly<Record<string, number>>
  readonly provider429PerHour: Readonly<Record<string, number>>
  /** Requests accepted and not done, by state. */
  readonly states: Readonly<Partial<Record<RequestState, number>>>
  /** Producers waiting for a place in the queue; requests in it; requests past it. */
  readonly atGate: number
  readonly queued: number
  readonly active: number
  /** From the call of `spawn` to the permission, without back-off and call: of all that ended but cancelled ones. */
  readonly waitMs: TimeSummary
  /** From the call of `spawn` to the answer: of completed requests. */
  readonly latencyMs: TimeSummary
  /** LLM tokens of completed requests: reserved, counted by the provider (as reserved where it does not tell), given back. */
  readonly tokens: { readonly estimated: number; readonly used: number; readonly refunded: number }
  /** With `prices`. */
  readonly cost?: { readonly currency: string; readonly amount: number }
  readonly limits: readonly LimitStatus[]
  /** Left of the fleet's cool-down; 0 for none. */
  readonly coolDownMs: number
  readonly paused: boolean
  readonly tenants: Readonly<Record<string, TenantStatus>>
}

export interface ProcessStatus {
  readonly name: string
  readonly host: string
  readonly pid: number
  /** ISO 8601. */
  readonly startedAt: string
  /** Who lives answers when asked: more than some seconds means dead, paused or cut off from Redis. */
  readonly seenMsAgo: number
  /** Calls under way; requests accepted and waiting. */
  readonly inFlight: number
  readonly queued: number
}

export interface AlertStatus {
  readonly rule: string
  readonly pool?: string
  readonly state: 'firing' | 'ok'
  /** How long it has been so. */
  readonly sinceMs: number
  readonly value: number
  readonly threshold: number
  readonly message: string
}

/** The fleet as a whole; of this process alone where `scope` says so. */
export interface MonitoringStats {
  /** ISO 8601. */
  readonly generatedAt: string
  readonly namespace: string
  readonly store: 'redis' | 'memory'
  /** `process` without Redis, and while it can't be reached. */
  readonly scope: 'fleet' | 'process'
  /**
   * Of this process's dispatchers the one that is worst off; read from Redis alone, of the processes heard of in the last
   * 10 s, and left out where there is none.
   */
  readonly state?: DispatcherState
  /** This process has lost Redis. */
  readonly isolated: boolean
  readonly processes: readonly ProcessStatus[]
  readonly totals: OutcomeCounts & { readonly successRate: number | null }
  readonly pools: Readonly<Record<string, PoolStatus>>
  readonly alerts: readonly AlertStatus[]
}

export interface MinuteStatus extends OutcomeCounts {
  /** ISO 8601: when it began. */
  readonly minute: string
  readonly provider429: Readonly<Record<string, number>>
  readonly waitP50Ms: number | null
  readonly waitP99Ms: number | null
  readonly latencyP50Ms: number | null
  readonly latencyP99Ms: number | null
  readonly tokensUsed: number
}

/** The last minutes, oldest first, the current one included. */
export interface RateLimitStats {
  readonly generatedAt: string
  readonly scope: 'fleet' | 'process'
  readonly windowMinutes: number
  readonly pools: Readonly<
    Record<
      string,
      {
        /** Ended in the window. */
        readonly requests: number
        readonly provider429: Readonly<Record<string, number>>
        readonly provider429PerHour: number
        readonly perMinute: readonly MinuteStatus[]
      }
    >
  >
}

/** What a gate tells its operators; it listens, and nothing waits for it. */
export interface Monitoring {
  stats(): Promise<MonitoringStats>
  rateLimitStats(windowMinutes: number): Promise<RateLimitStats>
  /** Writes what is not written yet; never rejects. */
  flush(): Promise<void>
  /** The last flush; the process leaves the list. */
  close(): Promise<void>
}
