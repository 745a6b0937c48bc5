import { member, PROCESSES, rowOf, runFleet } from '../harness/fleet.js'
import type { Bench, Metrics, Question } from '../harness/question.js'
import { worstWindow } from '../harness/stats.js'

const RATE = { limit: 100, windowMs: 2_000 }
/** Late in the window that the first start opened. */
const LATE_MS = 1_800
const SECONDS = 8
const OUTSTANDING = 200

async function late(bench: Bench, peer: string, processes: number): Promise<Metrics> {
  const run = await runFleet(bench, {
    ...{ peer, processes, rate: RATE, lateMs: LATE_MS, outstanding: OUTSTANDING, jobs: 1_000 },
    ...{ seconds: SECONDS, callMs: 0, log: true },
  })
  const starts = run.members.flatMap((its) => its.starts.map(([atMs]) => [atMs, 1] as const))
  return { worstWindow: worstWindow(starts, RATE.windowMs, RATE.limit), starts: starts.length }
}

const row = rowOf(late)

export const lateStart: Question = {
  name: 'late-start',
  what: `${RATE.limit} requests per ${RATE.windowMs / 1_000} s, ${PROCESSES} processes: one request, and ${LATE_MS} ms later a backlog everywhere`,
  metrics: {
    worstWindow: 'fullest sliding window of all starts, × limit; above 1 the provider refuses',
    starts: `in ${SECONDS} s`,
  },
  overrun: 'worstWindow',
  tasks: { member },
  cases: [
    row('headgate', 'headgate'),
    row('limit', 'exact log, one process', 1),
    row('peer', 'Bottleneck reservoir'),
    row('peer', 'Bottleneck minTime'),
    row('peer', 'BullMQ limiter'),
    row('peer', 'rate-limiter-flexible queue'),
    row('peer', 'rate-limiter-flexible alone'),
    row('peer', 'Upstash sliding window'),
    row('peer', 'p-queue strict, split'),
  ],
  goals: [{ what: 'worst window ≤ 1', value: (look) => look('headgate', 'worstWindow'), atMost: 1 }],
}
