import { INVARIANTS } from './invariants/index.js'
import type { SimPlan } from './plan.js'
import { HEAL_MS, planFaults } from './plan-faults.js'
import { planWorkload } from './plan-workload.js'
import { Random } from './random.js'
import type { Violation } from './watch.js'
import { World, type WorldOptions } from './world.js'

export interface RunResult {
  readonly seed: number
  readonly violations: readonly Violation[]
  /** The same for the same plan, whatever else. */
  readonly digest: string
  readonly lines: readonly string[]
  readonly virtualMs: number
  readonly requests: number
  readonly faults: number
}

/** Long enough for whatever was held up. */
const LIMIT_MS = 400_000

/** All that a seed stands for; `kinds` narrows its faults down. */
export function planOf(seed: number, kinds?: readonly string[]): SimPlan {
  const random = new Random(seed)
  const { config, processes, requests } = planWorkload(random.fork('workload'))
  const settings = random.fork('settings')
  const isolatedMs = settings.chance(0.4) ? settings.pick([10_000, 30_000, 60_000]) : 0
  const faults = planFaults(random.fork('faults'), processes, Object.keys(config.pools), kinds)
  return { seed, processes, config, isolatedMs, requests, faults, healMs: HEAL_MS }
}

export async function runPlan(plan: SimPlan, options: Partial<WorldOptions> = {}): Promise<RunResult> {
  const world = new World({ checkers: INVARIANTS, ...options, plan })
  await world.run(LIMIT_MS).catch((error: unknown) => {
    const checker = { invariant: 10, name: 'after healing, full use within seconds' }
    world.watchers.violate(error instanceof Error ? (error.stack ?? error.message) : String(error), checker)
  })
  const { violations } = world.watchers
  return {
    seed: plan.seed,
    violations,
    digest: world.trace.digest,
    lines: world.trace.lines,
    virtualMs: world.sinceStartMs,
    requests: plan.requests.length,
    faults: plan.faults.length,
  }
}
