import type { Dispatcher } from './dispatch/dispatcher.js'
import type { PoolStats } from './gate-types.js'
import type { PoolPlan } from './limits/plan.js'

/** What the dispatcher knows of a pool's limits beyond their configuration. */
export function limitStatsOf(
  dispatcher: Dispatcher,
  plan: PoolPlan,
): Pick<PoolStats, 'ceilings' | 'coolDownMs' | 'configuredOtherwise'> {
  const { known, spec } = dispatcher
  const own = new Set([...plan.own.requests, ...plan.own.tokens, ...plan.own.concurrency])
  const learned = known.ceilings.filter(([index]) => own.has(index))
  return {
    ceilings: Object.fromEntries(learned.map(([index, value]) => [spec.limits[index]!.id, value])),
    configuredOtherwise: known.others,
    coolDownMs: dispatcher.outlook.coolDownMs(plan.index),
  }
}

/** Codes beyond this count as one: providers make them up. */
const MAX_CODES = 100

export function countCode(counts: Record<string, number>, code: string): void {
  const kept = code in counts || Object.keys(counts).length < MAX_CODES ? code : '(others)'
  counts[kept] = (counts[kept] ?? 0) + 1
}
