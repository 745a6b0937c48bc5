import type { SimPlan } from './plan.js'
import type { RunResult } from './run.js'

export interface Shrunk {
  readonly plan: SimPlan
  readonly result: RunResult
  /** Runs that it took. */
  readonly runs: number
}

/**
 * Drops faults and requests as long as the same invariant is violated: what is left is what it takes. Everything else
 * stays as it was, because each draws on a stream of randomness of its own.
 */
export async function shrink(
  plan: SimPlan,
  run: (plan: SimPlan) => Promise<RunResult>,
  maxRuns = 150,
): Promise<Shrunk> {
  let best = plan
  let runs = 1
  let result = await run(plan)
  const invariant = result.violations[0]?.invariant
  if (invariant === undefined) return { plan, result, runs }
  const fails = async (candidate: SimPlan): Promise<boolean> => {
    if (runs >= maxRuns) return false
    runs++
    const tried = await run(candidate)
    if (!tried.violations.some((violation) => violation.invariant === invariant)) return false
    best = candidate
    result = tried
    return true
  }
  await dropFrom('faults', fails, () => best)
  await dropFrom('requests', fails, () => best)
  await dropFrom('faults', fails, () => best)
  return { plan: best, result, runs }
}

/** Delta debugging: tries without each half, then each quarter, down to single items. */
async function dropFrom(
  kind: 'faults' | 'requests',
  fails: (candidate: SimPlan) => Promise<boolean>,
  best: () => SimPlan,
): Promise<void> {
  let size = Math.ceil(best()[kind].length / 2)
  while (size >= 1 && best()[kind].length > 0) {
    let dropped = false
    for (let at = 0; at < best()[kind].length; ) {
      const items: readonly unknown[] = best()[kind]
      const rest = [...items.slice(0, at), ...items.slice(at + size)]
      if (await fails({ ...best(), [kind]: rest } as SimPlan)) dropped = true
      else at += size
    }
    if (size === 1 && !dropped) return
    if (size > 1 || !dropped) size = Math.floor(size / 2)
  }
}
