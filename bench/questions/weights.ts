import { COSTS, costs, member, type Member, PROCESSES, rowOf, runFleet } from '../harness/fleet.js'
import type { Bench, Metrics, Question } from '../harness/question.js'
import { jain, worstWindow } from '../harness/stats.js'

const RATE = { limit: 100_000, windowMs: 5_000 }
const WEIGHTS = [500, 8_000] as const
const SECONDS = 30
const OUTSTANDING = 50

async function mixed(bench: Bench, peer: string, processes: number): Promise<Metrics> {
  const run = await runFleet(bench, {
    ...{ peer, processes, rate: RATE, weighted: true, weights: WEIGHTS, outstanding: OUTSTANDING, jobs: 0 },
    ...{ seconds: SECONDS, callMs: 0, log: true },
  })
  const fromMs = run.startMs + RATE.windowMs
  const toMs = run.startMs + SECONDS * 1_000
  const used = ({ starts }: Member) =>
    starts.reduce((sum, [atMs, weight]) => sum + (atMs >= fromMs && atMs < toMs ? weight : 0), 0)
  const each = run.members.map(used)
  const starts = run.members.flatMap((its) => its.starts.map(([atMs, weight]) => [atMs, weight] as const))
  return {
    worstWindow: worstWindow(starts, RATE.windowMs, RATE.limit),
    utilisation: each.reduce((sum, amount) => sum + amount, 0) / ((RATE.limit * (toMs - fromMs)) / RATE.windowMs),
    jain: jain(each),
    ...costs(run),
  }
}

const row = rowOf(mixed)

export const weights: Question = {
  name: 'weights',
  what: `${RATE.limit / 1_000}k LLM tokens per ${RATE.windowMs / 1_000} s, ${WEIGHTS.join('–')} a request, ${PROCESSES} processes on one Redis, constant backlog, no-op call, ${SECONDS} s`,
  metrics: {
    worstWindow: 'fullest sliding window of all starts, × limit; above 1 the provider refuses',
    utilisation: 'share of the limit used from the second window on',
    jain: 'fairness between the processes by tokens, from the second window on, 1 is even',
    ...COSTS,
  },
  overrun: 'worstWindow',
  tasks: { member },
  cases: [
    row('headgate', 'headgate'),
    row('headgate', 'headgate, no guard'),
    row('limit', 'exact log, one process', 1),
    row('peer', 'Bottleneck reservoir'),
    row('peer', 'rate-limiter-flexible queue'),
    row('peer', 'rate-limiter-flexible alone'),
  ],
  goals: [
    { what: 'worst window ≤ 1', value: (look) => look('headgate', 'worstWindow'), atMost: 1 },
    {
      what: 'use ≥ 0.97 of what the guard leaves (5 s in 5.2 s)',
      value: (look) => (look('headgate', 'utilisation') * 5.2) / 5,
      atLeast: 0.97,
    },
  ],
}
