import type { SimPlan } from './plan.js'
import type { RunResult } from './run.js'

const MAX_LINES = 400

/** A failing schedule, readable: what was configured, what went wrong, and what happened up to the first violation. */
export function timeline(plan: SimPlan, { violations, lines, digest }: RunResult): string {
  const [first] = violations
  const end = lines.findIndex((line) => line.includes('VIOLATION'))
  const shown = lines.slice(Math.max(0, end - MAX_LINES), end === -1 ? undefined : end + 1)
  return [
    `seed ${plan.seed}: ${plan.processes} processes, ${plan.requests.length} requests, ${plan.faults.length} faults (trace ${digest})`,
    `pools ${JSON.stringify(plan.config.pools)}`,
    `limit sets ${JSON.stringify(plan.config.limitSets ?? {})}, isolated for ${plan.isolatedMs} ms`,
    first
      ? `violates invariant ${first.invariant} (${first.name}) at ${first.atMs.toFixed(1)} ms: ${first.message}`
      : 'no violation',
    ...plan.faults.map((fault) => `fault ${JSON.stringify(fault)}`),
    ...(shown.length < end ? [`… ${end - MAX_LINES} lines before`] : []),
    ...shown,
  ].join('\n')
}
