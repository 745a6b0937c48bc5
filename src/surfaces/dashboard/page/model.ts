import type { RequestState } from '../../../../machines/vocabulary.js'
import type { MonitoringStats, RateLimitStats } from '../../../monitoring.js'
import { RecentRequests } from '../recent.js'
import type { Batch, Health, Snapshot, StateCounts } from '../wire.js'

export type Link = 'connecting' | 'live' | 'lost' | 'locked'

const MISSED_SHOWN_MS = 30_000

/** All that the page knows. Views read it; events change it. */
export class Model {
  link: Link = 'connecting'
  process = ''
  counts: StateCounts = {}
  health: Health | undefined
  stats: MonitoringStats | undefined
  rates: RateLimitStats | undefined
  readonly recent = new RecentRequests()
  /** The server's clock less this one's. */
  aheadMs = 0
  untold = 0
  missed = 0
  /** Transitions a second, by `from>to`: smoothed over some seconds. */
  readonly perSecond = new Map<string, number>()
  #batchMs: number | undefined
  #missedMs = 0

  get nowMs(): number {
    return Date.now() + this.aheadMs
  }

  get isolated(): boolean {
    const states = Object.values(this.health?.dispatchers ?? {})
    return states.some((state) => state === 'isolated' || state === 'connecting') || this.stats?.isolated === true
  }

  /** Requests of this process in a state. */
  inState(state: RequestState): number {
    let sum = 0
    for (const states of Object.values(this.counts)) sum += states[state] ?? 0
    return sum
  }

  /** Of the whole fleet. */
  fleetInState(state: RequestState): number {
    let sum = 0
    for (const { states } of Object.values(this.stats?.pools ?? {})) sum += states[state] ?? 0
    return sum
  }

  begin({ atMs, host, pid, counts, requests, missed }: Snapshot): void {
    this.aheadMs = atMs - Date.now()
    this.process = `${host}:${pid}`
    this.counts = counts
    this.missed += missed
    if (missed > 0) this.#missedMs = Date.now()
    this.untold = 0
    this.recent.clear()
    for (const request of requests) this.recent.add(request)
  }

  apply(batch: Batch): void {
    this.counts = batch.counts
    this.untold += batch.untold
    this.recent.apply(batch)
    const tookMs = Math.min(2_000, Math.max(50, batch.atMs - (this.#batchMs ?? batch.atMs - 100)))
    this.#batchMs = batch.atMs
    this.#smooth(batch.flow, tookMs)
  }

  /** What was missed is news for a while, then history. */
  forgetMissed(): void {
    if (Date.now() - this.#missedMs > MISSED_SHOWN_MS) this.missed = 0
  }

  /** Batches come only while something happens: what stops is let fade. */
  fade(tookMs: number): void {
    if (this.#batchMs !== undefined && this.nowMs - this.#batchMs > 600) this.#smooth({}, tookMs)
  }

  #smooth(flow: Batch['flow'], tookMs: number): void {
    const weight = 1 - Math.exp(-tookMs / 2_000)
    for (const edge of new Set([...this.perSecond.keys(), ...Object.keys(flow)])) {
      const before = this.perSecond.get(edge) ?? 0
      const now = before + weight * (((flow[edge] ?? 0) * 1000) / tookMs - before)
      if (now < 0.02) this.perSecond.delete(edge)
      else this.perSecond.set(edge, now)
    }
  }
}
