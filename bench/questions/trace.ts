import { SLACK_MS } from '../../src/config.js'
import { generateTrace, traceOf } from '../../src/surfaces/cli/replay/generate.js'
import { type Trace, traceFile } from '../../src/surfaces/cli/replay/trace.js'
import { traceWait } from '../fleet/trace.js'
import { member, PROCESSES, runFleet } from '../harness/fleet.js'
import type { Bench, Case, Metrics, Question } from '../harness/question.js'
import { quantile, worstWindow } from '../harness/stats.js'

/** Of the trace, as its real processes meet it: so long, so many times as fast, with a limit of which it uses that share. */
const PART_MS = 20 * 60_000
const SPEED = 20
const BUSY = 0.8
const WINDOW_MS = 60_000 / SPEED
/** After the last arrival, for what still waits. */
const REST_MS = 15_000
const GUARD_MS = 150
/** Of the whole trace on a virtual clock. */
const HOUR_BUSY = [0.9, 0.31]

/** The trace that was named, or one made up. */
function traceOfBench({ trace }: Bench): Trace {
  if (trace !== undefined) return traceFile(trace)
  const bursts = { everyMs: 120_000, sizes: [50, 300], spreadMs: 5_000 } as const
  const rows = generateTrace({ seed: 7, durationMs: 3_600_000, perMinute: 90, bursts })
  return traceOf('made up', rows)
}

/** First come, first served by one scheduler with an exact log. */
function idealWaits(arrivalsMs: readonly number[], limit: number, windowMs: number): number[] {
  const startsMs: number[] = []
  return arrivalsMs.map((atMs, i) => {
    const startMs = Math.max(atMs, startsMs[i - 1] ?? 0, i < limit ? 0 : startsMs[i - limit]! + windowMs)
    startsMs.push(startMs)
    return startMs - atMs
  })
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

/** Arrivals of the part in real time, and the limit for them. */
async function part(bench: Bench): Promise<{ arrivalsMs: number[]; limit: number }> {
  const arrivalsMs: number[] = []
  for await (const { atMs } of traceOfBench(bench).rows()) {
    if (atMs >= PART_MS) break
    arrivalsMs.push(atMs / SPEED)
  }
  return { arrivalsMs, limit: Math.ceil((arrivalsMs.length / ((PART_MS / SPEED) * BUSY)) * WINDOW_MS) }
}

/** Waits of real processes beside those of the ideal, which leaves the same time between a window and the next. */
async function waits(bench: Bench, peer: string, processes: number, holdMs: number): Promise<Metrics> {
  const { arrivalsMs, limit } = await part(bench)
  const ideal = idealWaits(arrivalsMs, limit, WINDOW_MS + holdMs)
  const run = await runFleet(bench, {
    ...{ peer, processes, rate: { limit, windowMs: WINDOW_MS }, outstanding: arrivalsMs.length, jobs: 0, arrivalsMs },
    ...{ seconds: (PART_MS / SPEED + REST_MS) / 1_000, callMs: 0, log: true },
  })
  const starts = run.members.flatMap((its) => its.starts)
  const waitedMs = starts.map(([, , , waited]) => waited)
  const never = arrivalsMs.length - starts.length
  return {
    meanMs: mean(waitedMs),
    meanRatio: mean(waitedMs) / mean(ideal),
    p99Ratio: quantile(waitedMs, 0.99) / quantile(ideal, 0.99),
    idealMs: mean(ideal),
    worstWindow: worstWindow(
      starts.map(([atMs]) => [atMs, 1]),
      WINDOW_MS,
      limit,
    ),
    never,
  }
}

/** The whole trace, requests and tokens, four real dispatchers on a virtual clock. */
async function hour(bench: Bench, busy: number): Promise<Metrics> {
  const { meanMs, ratio, p99Ratio, idealMs } = await traceWait(traceOfBench(bench), busy)
  return { meanMs: meanMs!, meanRatio: ratio!, p99Ratio: p99Ratio!, idealMs: idealMs! }
}

const row = (side: Case['side'], peer: string, { processes = PROCESSES, holdMs = 0 } = {}): Case => ({
  name: peer,
  side,
  run: (bench) => waits(bench, peer, processes, holdMs),
})
const hourName = (busy: number) => `headgate, whole hour, ${busy} busy`

export const trace: Question = {
  name: 'trace',
  what: `Waits of a trace’s first ${PART_MS / 60_000} minutes, ${SPEED} × as fast, ${BUSY} of the limit, ${PROCESSES} processes; the whole hour by requests and tokens on a virtual clock`,
  metrics: {
    meanMs: 'mean wait, ms',
    meanRatio: 'mean wait, × that of one scheduler with an exact log and the same guard',
    p99Ratio: 'the same of the 99th percentile',
    idealMs: 'mean wait of that scheduler, ms',
    worstWindow: 'fullest sliding window of all starts, × limit; above 1 the provider refuses',
    never: `requests that had not started ${REST_MS / 1_000} s after the last came`,
  },
  overrun: 'worstWindow',
  tasks: { member },
  cases: [
    row('headgate', 'headgate', { holdMs: GUARD_MS + SLACK_MS }),
    row('headgate', 'headgate, no guard', { holdMs: SLACK_MS }),
    row('limit', 'exact log, one process', { processes: 1 }),
    row('peer', 'Bottleneck reservoir'),
    row('peer', 'Bottleneck minTime'),
    row('peer', 'BullMQ limiter'),
    row('peer', 'rate-limiter-flexible queue'),
    row('peer', 'rate-limiter-flexible alone'),
    row('peer', 'Upstash sliding window'),
    row('peer', 'p-queue strict, split'),
    ...HOUR_BUSY.map((busy): Case => ({ name: hourName(busy), side: 'headgate', run: (bench) => hour(bench, busy) })),
  ],
  goals: [
    {
      what: 'mean wait ≤ 1.02 × the ideal’s over the hour, 0.9 busy',
      value: (look) => look(hourName(0.9), 'meanRatio'),
      atMost: 1.02,
    },
    {
      what: 'excess ≤ one bucket + 20 ms (120 ms) where the ideal waits 1–2 s',
      value: (look) => look(hourName(0.31), 'meanMs') - look(hourName(0.31), 'idealMs'),
      atMost: 120,
    },
  ],
}
