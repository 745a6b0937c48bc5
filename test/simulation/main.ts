import type { SimPlan } from './plan.js'
import { runOnRedis } from './redis-run.js'
import { planOf, type RunResult, runPlan } from './run.js'
import { shrink } from './shrink.js'
import { timeline } from './timeline.js'

export { startRedisServer } from '../../src/testing/redis-server.js'
export { FAULT_KINDS } from './plan-faults.js'
export { planOf } from './run.js'

/** Runs a plan on the memory store, or on the Lua in the Redis at `redisUrl`. */
export function run(plan: SimPlan, redisUrl?: string, keepTrace = false): Promise<RunResult> {
  return redisUrl === undefined ? runPlan(plan, { keepTrace }) : runOnRedis(plan, redisUrl, { keepTrace })
}

/** Replays a seed; a failing one is shrunk first. Returns its timeline. */
export async function explain(seed: number, kinds?: readonly string[], redisUrl?: string): Promise<string> {
  const { plan, result, runs } = await shrink(planOf(seed, kinds), (its) => run(its, redisUrl, true))
  return `${timeline(plan, result)}\n(${runs} runs)`
}
