// From tallies to what people read. Pure.
import type { DispatcherState } from '../../../machines/vocabulary.js'
import type {
  LimitStatus,
  MinuteStatus,
  OutcomeCounts,
  PoolStatus,
  ProcessStatus,
  RateLimitStats,
  TenantStatus,
  TimeSummary,
} from '../../monitoring.js'
import type { Fleet, Member } from './fleet-book.js'
import { addCounts, type Histogram, type LivePool, newTally, type PoolTally, percentile, successRate } from './tally.js'

const MINUTE_MS = 60_000
const HOUR_MINUTES = 60
/** Who was not heard of for so long, though asked, holds nothing any more, and is soon forgotten. */
const GONE_MS = 10_000
const FORGOTTEN_MS = 60_000

/** From the worst on. */
const WORST_FIRST: readonly DispatcherState[] = ['stopped', 'isolated', 'learning', 'connecting', 'draining', 'synced']

export interface PoolOperation {
  readonly limits: readonly LimitStatus[]
  readonly coolDownMs: number
  readonly paused: boolean
}

/** `configured`: pools to show though nothing happened in them. */
export function poolsOf(
  { nowMs, totals, members }: Fleet,
  configured: Iterable<string>,
  operations: ReadonlyMap<string, PoolOperation>,
): Record<string, PoolStatus> {
  const lives = liveOf(members)
  const names = new Set([...configured, ...totals.keys(), ...lives.keys()])
  const pools = [...names].map((name) => {
    const operation = operations.get(name) ?? { limits: [], coolDownMs: 0, paused: false }
    const status = poolStatus(totals.get(name) ?? newTally(), nowMs, lives.get(name) ?? NOTHING, operation)
    return [name, status] as const
  })
  return Object.fromEntries(pools)
}

function poolStatus(tally: PoolTally, nowMs: number, live: LivePool, operation: PoolOperation): PoolStatus {
  const [currency] = Object.keys(tally.cost)
  return {
    ...countsOf(tally.outcomes),
    successRate: successRate(tally),
    provider429: { ...tally.provider429 },
    provider429PerHour: lastHour(tally, nowMs),
    states: live.states,
    atGate: live.atGate,
    queued: live.queued,
    active: live.active,
    waitMs: summaryOf(tally.waits),
    latencyMs: summaryOf(tally.latencies),
    tokens: { ...tally.tokens },
    ...(currency !== undefined && { cost: { currency, amount: tally.cost[currency]! / 1e9 } }),
    ...operation,
    tenants: tenantsOf(tally),
  }
}

export function totalsOf(tallies: Iterable<PoolTally>): OutcomeCounts & { successRate: number | null } {
  const outcomes: Record<string, number> = {}
  const via: Record<string, number> = {}
  for (const tally of tallies) {
    addCounts(outcomes, tally.outcomes)
    addCounts(via, tally.via)
  }
  return { ...countsOf(outcomes), successRate: successRate({ outcomes, via }) }
}

export function lastHour({ recent429 }: PoolTally, nowMs: number): Record<string, number> {
  const codes: Record<string, number> = {}
  const minute = Math.floor(nowMs / MINUTE_MS)
  for (const [when, counts] of Object.entries(recent429)) {
    if (Number(when) <= minute - HOUR_MINUTES) continue
    addCounts(codes, counts)
  }
  return codes
}

export function processesOf(members: readonly Member[]): ProcessStatus[] {
  return members
    .filter(({ seenMsAgo }) => seenMsAgo < FORGOTTEN_MS)
    .map(({ name, host, pid, startedMs, seenMsAgo, pools }) => {
      const lives = Object.values(pools)
      const sum = (of: (live: LivePool) => number) => lives.reduce((all, live) => all + of(live), 0)
      return {
        name,
        host,
        pid,
        startedAt: new Date(startedMs).toISOString(),
        seenMsAgo: Math.max(0, seenMsAgo),
        inFlight: sum(({ states }) => states.calling ?? 0),
        queued: sum(
          ({ states }) => Object.values(states).reduce((all, count) => all + count, 0) - (states.calling ?? 0),
        ),
      }
    })
}

export function worstOf(states: readonly DispatcherState[]): DispatcherState | undefined {
  return WORST_FIRST.find((state) => states.includes(state))
}

/** How those stand that were heard of lately; undefined where there is none. */
export function fleetState(members: readonly Member[]): DispatcherState | undefined {
  return worstOf(members.filter(({ seenMsAgo }) => seenMsAgo < GONE_MS).map(({ state }) => state))
}

/** What is under way in the fleet, by pool. */
export function liveOf(members: readonly Member[]): Map<string, LivePool> {
  const lives = new Map<string, LivePool>()
  for (const { pools, seenMsAgo } of members) {
    if (seenMsAgo >= GONE_MS) continue
    for (const [name, { atGate, queued, active, states }] of Object.entries(pools)) {
      const sum = lives.get(name) ?? NOTHING
      const merged: Record<string, number> = { ...sum.states }
      addCounts(merged, states)
      lives.set(name, {
        atGate: sum.atGate + atGate,
        queued: sum.queued + queued,
        active: sum.active + active,
        states: merged,
      })
    }
  }
  return lives
}

const NOTHING: LivePool = { atGate: 0, queued: 0, active: 0, states: {} }

/** `names`: pools to show though nothing happened in them. */
export function rateLimitStats(
  minutes: ReadonlyMap<number, ReadonlyMap<string, PoolTally>>,
  names: Iterable<string>,
  { nowMs, windowMinutes, scope }: { nowMs: number; windowMinutes: number; scope: RateLimitStats['scope'] },
): RateLimitStats {
  const last = Math.floor(nowMs / MINUTE_MS)
  const all = new Set(names)
  for (const tallies of minutes.values()) for (const name of tallies.keys()) all.add(name)
  const pools: Record<string, RateLimitStats['pools'][string]> = {}
  for (const name of all) {
    const perMinute: MinuteStatus[] = []
    const provider429: Record<string, number> = {}
    let requests = 0
    let refusals = 0
    for (let minute = last - windowMinutes + 1; minute <= last; minute++) {
      const status = minuteStatus(minute, minutes.get(minute)?.get(name) ?? newTally())
      perMinute.push(status)
      requests += status.completed + status.degraded + status.failed + status.cancelled + status.expired
      for (const [code, count] of Object.entries(status.provider429)) {
        provider429[code] = (provider429[code] ?? 0) + count
        refusals += count
      }
    }
    const provider429PerHour = (refusals * HOUR_MINUTES) / windowMinutes
    pools[name] = { requests, provider429, provider429PerHour, perMinute }
  }
  return { generatedAt: new Date(nowMs).toISOString(), scope, windowMinutes, pools }
}

function minuteStatus(minute: number, { outcomes, provider429, waits, latencies, tokens }: PoolTally): MinuteStatus {
  return {
    minute: new Date(minute * MINUTE_MS).toISOString(),
    ...countsOf(outcomes),
    provider429: { ...provider429 },
    waitP50Ms: rounded(percentile(waits, 0.5)),
    waitP99Ms: rounded(percentile(waits, 0.99)),
    latencyP50Ms: rounded(percentile(latencies, 0.5)),
    latencyP99Ms: rounded(percentile(latencies, 0.99)),
    tokensUsed: tokens.used,
  }
}

function countsOf(outcomes: Readonly<Record<string, number>>): OutcomeCounts {
  const { completed = 0, degraded = 0, failed = 0, cancelled = 0, expired = 0 } = outcomes
  return { completed, degraded, failed, cancelled, expired }
}

function summaryOf(histogram: Histogram): TimeSummary {
  const { count, sumMs } = histogram
  return {
    mean: count === 0 ? null : rounded(sumMs / count),
    p50: rounded(percentile(histogram, 0.5)),
    p90: rounded(percentile(histogram, 0.9)),
    p99: rounded(percentile(histogram, 0.99)),
  }
}

function tenantsOf({ tenants, tokens, outcomes }: PoolTally): Record<string, TenantStatus> {
  const answered = countsOf(outcomes).completed + countsOf(outcomes).degraded
  return Object.fromEntries(
    Object.entries(tenants).map(([name, counts]) => {
      const { tokensUsed = 0 } = counts
      const its = countsOf(counts)
      const [part, whole] = tokens.used > 0 ? [tokensUsed, tokens.used] : [its.completed + its.degraded, answered]
      return [name, { ...its, tokensUsed, share: whole > 0 ? rounded(part / whole, 1e4) : 0 }]
    }),
  )
}

function rounded(value: number, unit?: number): number
function rounded(value: number | null): number | null
function rounded(value: number | null, unit = 100): number | null {
  return value === null ? null : Math.round(value * unit) / unit
}
