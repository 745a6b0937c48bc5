import { costs, member, runFleet } from '../harness/fleet.js'
import type { Bench, Case, Metrics, Question } from '../harness/question.js'

/** Never binding. */
const RATE = { limit: 100_000_000, windowMs: 60_000 }
const OUTSTANDING = 1_000
/** Above what any worker takes from a filled queue. */
const JOBS_PER_SECOND = 30_000

async function unbound(bench: Bench, peer: string): Promise<Metrics> {
  const { seconds } = bench
  const jobs = JOBS_PER_SECOND * seconds
  const run = await runFleet(bench, {
    ...{ peer, processes: 1, rate: RATE, outstanding: OUTSTANDING, jobs },
    ...{ seconds, callMs: 0, log: false },
  })
  return { perSecond: run.members[0]!.count / seconds, ...costs(run) }
}

const row = (side: Case['side'], peer: string): Case => ({ name: peer, side, run: (bench) => unbound(bench, peer) })

export const throughput: Question = {
  name: 'throughput',
  what: 'Requests per second, one process, no limit binding, 1,000 outstanding, no-op call',
  metrics: {
    perSecond: 'requests per second',
    roundTrips: 'reads of Redis from its clients, a request',
    usOfRedis: 'CPU of Redis, µs a request',
    cpuUs: 'CPU of the process, µs a request',
  },
  tasks: { member },
  cases: [
    row('headgate', 'headgate, in memory'),
    row('headgate', 'headgate'),
    row('peer', 'p-queue strict, split'),
    row('peer', 'Bottleneck, in memory'),
    row('peer', 'Bottleneck reservoir'),
    row('peer', 'BullMQ limiter'),
    row('peer', 'rate-limiter-flexible queue'),
    row('peer', 'rate-limiter-flexible alone'),
    row('peer', 'Upstash sliding window'),
  ],
  goals: [],
}
