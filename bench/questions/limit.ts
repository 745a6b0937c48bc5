import { COSTS, costs, type FleetRun, member, PROCESSES, rowOf, runFleet } from '../harness/fleet.js'
import type { Bench, Metrics, Question } from '../harness/question.js'
import { jain, worstWindow } from '../harness/stats.js'

const RATE = { limit: 200, windowMs: 5_000 }
const SECONDS = 20
/** Twice what one process may get if it gets all of it: nobody runs dry. */
const OUTSTANDING = 400

async function atTheLimit(bench: Bench, peer: string, processes: number): Promise<Metrics> {
  const jobs = 2 * RATE.limit * ((SECONDS * 1_000) / RATE.windowMs + 1)
  const run = await runFleet(bench, {
    ...{ peer, processes, rate: RATE, outstanding: OUTSTANDING, jobs },
    ...{ seconds: SECONDS, callMs: 0, log: true },
  })
  const atMs = run.members.flatMap(({ starts }) => starts.map(([at]) => at)).sort((a, b) => a - b)
  const fromMs = run.startMs + RATE.windowMs
  return {
    worstWindow: worstWindow(
      atMs.map((at) => [at, 1]),
      RATE.windowMs,
      RATE.limit,
    ),
    utilisation: utilisation(atMs, run),
    jain: jain(run.members.map(({ starts }) => starts.filter(([at]) => at >= fromMs).length)),
    ...costs(run),
  }
}

/**
 * How much of the limit was used, the first window left out: whole limits' worth of starts over the time they took, which
 * no burst at either end distorts.
 */
function utilisation(atMs: readonly number[], { startMs, seconds }: FleetRun): number {
  const { limit, windowMs } = RATE
  const whole = Math.floor((atMs.length - 1 - limit) / limit)
  if (whole >= 1) return (whole * windowMs) / (atMs[(whole + 1) * limit]! - atMs[limit]!)
  const later = atMs.filter((at) => at >= startMs + windowMs).length
  return later / ((limit * (seconds * 1_000 - windowMs)) / windowMs)
}

const row = rowOf(atTheLimit)

export const limit: Question = {
  name: 'limit',
  what: `${RATE.limit} requests per ${RATE.windowMs / 1_000} s, ${PROCESSES} processes on one Redis, constant backlog, no-op call, ${SECONDS} s`,
  metrics: {
    worstWindow: 'fullest sliding window of all starts, × limit; above 1 the provider refuses',
    utilisation: 'share of the limit used from the second window on',
    jain: 'fairness between the processes from the second window on, 1 is even: the first goes to whoever asks first',
    ...COSTS,
  },
  overrun: 'worstWindow',
  tasks: { member },
  cases: [
    row('headgate', 'headgate'),
    row('headgate', 'headgate, no guard'),
    row('limit', 'exact log, one process', 1),
    row('peer', 'Bottleneck reservoir'),
    row('peer', 'Bottleneck minTime'),
    row('peer', 'BullMQ limiter'),
    row('peer', 'rate-limiter-flexible queue'),
    row('peer', 'rate-limiter-flexible alone'),
    row('peer', 'Upstash sliding window'),
    row('peer', 'p-queue strict, split'),
  ],
  goals: [
    { what: 'worst window ≤ 1', value: (look) => look('headgate', 'worstWindow'), atMost: 1 },
    {
      what: 'use ≥ 0.99 of what the guard leaves (5 s in 5.2 s)',
      value: (look) => (look('headgate', 'utilisation') * 5.2) / 5,
      atLeast: 0.99,
    },
    { what: 'Jain ≥ 0.99', value: (look) => look('headgate', 'jain'), atLeast: 0.99 },
  ],
}
