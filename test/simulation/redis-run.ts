import type { SimPlan } from './plan.js'
import { RedisBackend } from './redis-backend.js'
import { type RunResult, runPlan } from './run.js'
import type { WorldOptions } from './world.js'

/** Runs a plan with the Lua in the Redis at `url` as its store. */
export async function runOnRedis(plan: SimPlan, url: string, options: Partial<WorldOptions> = {}): Promise<RunResult> {
  let backend: RedisBackend | undefined
  try {
    return await runPlan(plan, {
      ...options,
      backend: (world) => {
        backend = new RedisBackend(world, url)
        return backend
      },
    })
  } finally {
    await backend?.stop()
  }
}
