// What a rule measures in the fleet's numbers. Pure.
import type { RuleConfig } from '../../alerts.js'
import type { LimitStatus } from '../../monitoring.js'
import { type LivePool, type PoolTally, percentile, successRate } from '../monitoring/tally.js'
import type { Measured } from './hysteresis.js'

/** The fleet's numbers as rules need them. */
export interface FleetView {
  readonly pools: readonly string[]
  /** Summed over the last so many minutes. */
  recent(pool: string, minutes: number): PoolTally | undefined
  /** Answers 429 of the last hour, by code. */
  lastHour429(pool: string): Readonly<Record<string, number>>
  live(pool: string): LivePool | undefined
  /** Places in the queues of all processes. */
  places(pool: string): number
  limits(pool: string): readonly LimitStatus[]
}

const HOUR_MINUTES = 60
const MINUTE_MS = 60_000

type Measure = (rule: RuleConfig, pool: string, view: FleetView) => Omit<Measured, 'threshold'> | undefined

const MEASURES: Record<Exclude<RuleConfig['rule'], 'isolated'>, Measure> = {
  'provider-429': (rule, pool, view) => {
    const { code, threshold, withinMinutes } = rule
    const codes =
      withinMinutes === HOUR_MINUTES ? view.lastHour429(pool) : (view.recent(pool, withinMinutes)?.provider429 ?? {})
    const all = Object.entries(codes).filter(([one]) => code === undefined || one === code)
    const value = all.reduce((sum, [, count]) => sum + count, 0)
    const what = code === undefined ? '429' : `429 and code ${code}`
    const message = `pool ${pool}: ${counted(value, 'answer')} with status ${what} within ${spanOf(withinMinutes)} (more than ${threshold} is an alert). Somebody else uses the key, or a limit is configured above the account's.`
    return { breached: value > threshold, value, message }
  },
  'success-rate': ({ threshold, withinMinutes, least }, pool, view) => {
    const recent = view.recent(pool, withinMinutes)
    const value = recent ? successRate(recent) : null
    if (!recent || value === null) return undefined
    const { completed = 0, degraded = 0, failed = 0, expired = 0 } = recent.outcomes
    const ended = completed + degraded + failed + expired
    const message = `pool ${pool}: ${percent(value)} of ${counted(ended, 'request')} succeeded within ${spanOf(withinMinutes)} (less than ${percent(threshold)} is an alert).`
    return { breached: ended >= least && value < threshold, value, message }
  },
  'wait-p99': ({ threshold, withinMinutes }, pool, view) => {
    const recent = view.recent(pool, withinMinutes)
    const value = recent ? percentile(recent.waits, 0.99) : null
    if (value === null) return undefined
    const message = `pool ${pool}: 1 request in 100 waited ${Math.round(value)} ms or longer within ${spanOf(withinMinutes)} (more than ${threshold} ms is an alert).`
    return { breached: value > threshold, value, message }
  },
  'queue-full': ({ threshold }, pool, view) => {
    const places = view.places(pool)
    const value = places === 0 ? 0 : (view.live(pool)?.queued ?? 0) / places
    const message = `pool ${pool}: ${percent(value)} of ${places} places in the queue are taken (more than ${percent(threshold)} is an alert).`
    return { breached: value > threshold, value, message }
  },
  quota: ({ threshold, windowMs }, pool, view) => {
    let value = 0
    let worst: LimitStatus | undefined
    for (const limit of view.limits(pool)) {
      const { used } = limit
      if (used === undefined || (limit.windowMs ?? 0) < windowMs || limit.limit === 0) continue
      if (worst && used / limit.limit <= value) continue
      value = used / limit.limit
      worst = limit
    }
    if (!worst) return undefined
    const message = `pool ${pool}: ${percent(value)} of ${worst.id} is spent, ${worst.used} of ${worst.limit} (more than ${percent(threshold)} is an alert).`
    return { breached: value > threshold, value, message }
  },
}

/** By `<rule's name>|<pool>`: what each rule finds in each of its pools; nothing where there is nothing to judge. */
export function measureAll(
  rules: readonly RuleConfig[],
  view: FleetView,
): Map<string, readonly [RuleConfig, Measured | undefined]> {
  const found = new Map<string, readonly [RuleConfig, Measured | undefined]>()
  for (const rule of rules) {
    if (rule.rule === 'isolated') continue
    for (const pool of rule.pool === undefined ? view.pools : [rule.pool]) {
      const measured = MEASURES[rule.rule](rule, pool, view)
      found.set(`${rule.name}|${pool}`, [rule, measured && { ...measured, threshold: rule.threshold }])
    }
  }
  return found
}

/** Minutes of the past that the rules look at, besides the last hour's refusals. */
export function minutesNeeded(rules: readonly RuleConfig[]): number {
  const needed = rules.map(({ rule, withinMinutes }) =>
    rule === 'provider-429' && withinMinutes === HOUR_MINUTES ? 0 : withinMinutes,
  )
  return Math.max(0, ...needed)
}

function counted(amount: number, what: string): string {
  return `${amount} ${what}${amount === 1 ? '' : 's'}`
}

function percent(value: number): string {
  return `${Math.round(value * 1_000) / 10} %`
}

function spanOf(minutes: number): string {
  if (minutes % HOUR_MINUTES !== 0) return `${minutes} min`
  return minutes === HOUR_MINUTES ? 'an hour' : `${(minutes * MINUTE_MS) / 3_600_000} hours`
}
