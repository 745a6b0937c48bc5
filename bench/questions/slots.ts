import { COSTS, costs, member, PROCESSES, rowOf, runFleet, type Start } from '../harness/fleet.js'
import type { Bench, Metrics, Question } from '../harness/question.js'
import { jain } from '../harness/stats.js'

const SLOTS = 16
const CALL_MS = 20
const SECONDS = 8
const OUTSTANDING = 30

async function inFlight(bench: Bench, peer: string, processes: number): Promise<Metrics> {
  const jobs = SLOTS * ((SECONDS * 1_000) / CALL_MS)
  const run = await runFleet(bench, {
    ...{ peer, processes, slots: SLOTS, outstanding: OUTSTANDING, jobs },
    ...{ seconds: SECONDS, callMs: CALL_MS, log: true },
  })
  const calls = run.members.flatMap(({ starts }) => starts)
  const busyMs = calls.reduce((sum, [, , tookMs]) => sum + tookMs, 0)
  return {
    mostInFlight: mostAtOnce(calls) / SLOTS,
    utilisation: busyMs / (SLOTS * SECONDS * 1_000),
    jain: jain(run.members.map(({ count }) => count)),
    ...costs(run),
  }
}

function mostAtOnce(calls: readonly Start[]): number {
  const edges = calls.flatMap(([atMs, , tookMs]) => [[atMs, 1] as const, [atMs + tookMs, -1] as const])
  let now = 0
  let most = 0
  for (const [, by] of edges.sort(([a, byA], [b, byB]) => a - b || byA - byB)) {
    now += by
    most = Math.max(most, now)
  }
  return most
}

const row = rowOf(inFlight)

export const slots: Question = {
  name: 'slots',
  what: `${SLOTS} in flight, ${PROCESSES} processes on one Redis, constant backlog of calls of ${CALL_MS} ms, ${SECONDS} s`,
  metrics: {
    mostInFlight: 'most in flight at a time, × limit',
    utilisation: 'share of the slots’ time in which a call ran',
    jain: 'fairness between the processes, 1 is even',
    ...COSTS,
  },
  overrun: 'mostInFlight',
  tasks: { member },
  cases: [
    row('headgate', 'headgate'),
    row('limit', 'slots, one process', 1),
    row('peer', 'Bottleneck maxConcurrent'),
    row('peer', 'BullMQ global concurrency'),
  ],
  goals: [
    { what: 'never above the limit', value: (look) => look('headgate', 'mostInFlight'), atMost: 1 },
    { what: 'utilisation ≥ 0.98', value: (look) => look('headgate', 'utilisation'), atLeast: 0.98 },
  ],
}
