import { planOf } from './run.js'
import { shrink } from './shrink.js'
import { timeline } from './timeline.js'

export { FAULT_KINDS } from './plan-faults.js'
export { planOf, runPlan } from './run.js'

/** Replays a seed; a failing one is shrunk first. Returns its timeline. */
export async function explain(seed: number, kinds?: readonly string[]): Promise<string> {
  const { plan, result, runs } = await shrink(planOf(seed, kinds), { keepTrace: true })
  return `${timeline(plan, result)}\n(${runs} runs)`
}
