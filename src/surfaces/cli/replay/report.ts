import type { ArrivalRecord, SimulatorReport } from '../../../testing/index.js'
import type { KillReport } from './kill.js'
import type { ReplayLimits } from './limits.js'
import type { DealtRow, ReplayMode, RowResult, RowStatus } from './protocol.js'
import { type Span, utilisation } from './use.js'

/** What came of one mode of a replay. */
export interface ModeReport {
  /** All rows: completed, degraded, failed and, after a kill, lost. */
  readonly requests: number
  readonly completed: number
  readonly degraded: number
  /** Cancelled and expired ones included. */
  readonly failed: number
  /** Held by the killed worker; only with a kill. */
  readonly lost?: number
  /** Every answer with HTTP 429 that the provider gave, retried or not, by its code. */
  readonly provider429: Readonly<Record<string, number>>
  /** The most that arrived in any sliding window, over the limit, as the provider saw it. */
  readonly worstWindowRatio: number
  /** See `utilisation`. */
  readonly utilisation: number
  /**
   * In trace time (real time × speed), of requests that completed: from the instant a row was due to its end, less what
   * its last call took. Null when none completed.
   */
  readonly addedLatencyMs: { readonly mean: number | null; readonly p50: number | null; readonly p99: number | null }
  /** Real ms from the kill until the dead worker's slots were free; null when it held none. Only with a kill. */
  readonly slotsBackMs?: number | null
}

export interface ReplayReport {
  readonly governed: ModeReport
  readonly unprotected?: ModeReport
}

/** Gathers what became of every row of one mode. */
export class Tally {
  readonly counts: Record<RowStatus, number> = { completed: 0, degraded: 0, failed: 0 }
  readonly #added: number[] = []
  readonly #spans: Span[] = []

  constructor(
    readonly mode: ReplayMode,
    private readonly speed: number,
  ) {}

  get ended(): number {
    return this.counts.completed + this.counts.degraded + this.counts.failed
  }

  add([, status, endedMs, callMs]: RowResult, [, atMs]: DealtRow): void {
    const dueMs = atMs / this.speed
    const calledMs = Math.max(dueMs, endedMs - callMs)
    this.counts[status]++
    this.#spans.push({ dueMs, calledMs, endedMs, accepted: status === 'completed' })
    if (status === 'completed') this.#added.push((calledMs - dueMs) * this.speed)
  }

  report(
    provider: SimulatorReport,
    arrivals: readonly ArrivalRecord[],
    startWallMs: number,
    limits: ReplayLimits,
    killed: KillReport | undefined,
  ): ModeReport {
    const { completed, degraded, failed } = this.counts
    const added = this.#added.sort((a, b) => a - b)
    const mean = added.length === 0 ? null : round(added.reduce((sum, value) => sum + value, 0) / added.length, 1)
    return {
      requests: this.ended + (killed?.lost ?? 0),
      completed,
      degraded,
      failed,
      ...(killed && { lost: killed.lost }),
      provider429: { ...provider.errors429ByCode },
      worstWindowRatio: round(provider.worstWindowRatio, 4),
      utilisation: round(utilisation(this.#spans, arrivals, startWallMs, limits), 4),
      addedLatencyMs: { mean, p50: percentile(added, 0.5), p99: percentile(added, 0.99) },
      ...(killed && { slotsBackMs: killed.slotsBackMs }),
    }
  }
}

/** Nearest rank, of ascending values. */
function percentile(ascending: readonly number[], share: number): number | null {
  const value = ascending[Math.max(0, Math.ceil(share * ascending.length) - 1)]
  return value === undefined ? null : round(value, 1)
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}
