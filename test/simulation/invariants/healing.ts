import type { Checker, NewChecker } from '../watch.js'
import { LEASE_MS } from '../sim-process.js'

/** Retries, learning, a ceiling that climbs a step each ten seconds: beyond the work itself. */
const SLACK_MS = 60_000
const LEARN_MS = 10_000

/** After the last fault the work that is left gets done about as fast as the limits allow. */
export const healingIsComplete: NewChecker = (world): Checker => {
  let dueMs: number | undefined
  let told = false
  const expectedMs = (): number => {
    const { limits } = world.groupPlan.spec
    const needs = limits.map(() => 0)
    for (const process of world.processes) {
      for (const { pool, tenant, tokens, serviceMs } of process.alive ? process.accepted.values() : []) {
        const plan = world.groupPlan.pools.find(({ name }) => name === pool)!
        for (const index of plan.draws(tenant)) {
          const { dimension, windowMs, holdMs, limit } = limits[index]!
          const share = dimension === 'tokens' ? tokens / limit : 1 / limit
          needs[index]! += share * (windowMs > 0 ? windowMs + holdMs : serviceMs + 200)
        }
      }
    }
    const windowsMs = Math.max(...limits.map(({ windowMs, holdMs }) => windowMs + holdMs))
    const asideMs = world.plan.isolatedMs > 0 ? world.plan.isolatedMs + LEASE_MS : 0
    // A ceiling cut to one slot, or large requests among small ones, cost their share.
    return 2.5 * Math.max(...needs) + windowsMs + LEARN_MS + LEASE_MS + asideMs + SLACK_MS
  }
  return {
    invariant: 10,
    name: 'after healing, full use within seconds',
    sample() {
      if (world.sinceStartMs < world.plan.healMs) return
      dueMs ??= world.sinceStartMs + expectedMs()
      if (told || world.sinceStartMs <= dueMs || world.isDone) return
      told = true
      const left = world.processes.reduce((sum, { alive, accepted }) => sum + (alive ? accepted.size : 0), 0)
      world.watchers.violate(
        `${left} requests are left ${Math.round(world.sinceStartMs - world.plan.healMs)} ms after healing`,
      )
    },
  }
}
