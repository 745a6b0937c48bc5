import { Command } from 'commander'
import { countOption } from './parse.js'
import { replayAndPrint } from './replay/command.js'
import { generateTrace, traceOf } from './replay/generate.js'
import { hasRedisServer } from './replay/store.js'
import { summarize } from './replay/trace.js'
import { exitOnSignals, note } from './terminal.js'

interface DemoFlags {
  readonly processes?: number
  readonly minutes: number
  readonly speed: number
  readonly seed: number
  readonly json?: boolean
}

const MINUTE_MS = 60_000
/** A quarter of an hour in 15 s. Faster, a minute's window would be short beside the slack against jitter. */
const SPEED = 60
const MINUTES = 15
/** An account as GLM gives it, used by about half on average, with the bursts that real backends have. */
const LIMITS = { requests: [{ limit: 50, windowMs: MINUTE_MS }], tokens: [], concurrency: 5 }
const TRAFFIC = {
  perMinute: 18,
  bursts: { everyMs: 1.5 * MINUTE_MS, sizes: [8, 16], spreadMs: 4_000 },
} as const
const LATENCY_MS = 1_500
const GUARD_MS = 25

/** `headgate demo`: the before and after of one bursty quarter of an hour, without Redis or a key. */
export function demoCommand(): Command {
  return new Command('demo')
    .description('see calls governed: a bursty quarter of an hour before and after, in about half a minute')
    .option('--processes <n>', 'worker processes (default: 4 with a Redis at hand, else 1)', countOption)
    .option('--minutes <n>', 'length of the traffic, in trace time', countOption, MINUTES)
    .option('--speed <x>', 'so many times faster than real time', countOption, SPEED)
    .option('--seed <n>', 'seed of the traffic', countOption, 1)
    .option('--json', 'print one JSON object instead of a table')
    .action(demo)
}

async function demo({ processes: wanted, minutes, speed, seed, json = false }: DemoFlags): Promise<void> {
  exitOnSignals()
  const redis = process.env.REDIS_URL || undefined
  const processes = wanted ?? (redis !== undefined || hasRedisServer() ? 4 : 1)
  const trace = traceOf('the demo', generateTrace({ seed, durationMs: minutes * MINUTE_MS, ...TRAFFIC }))
  const summary = await summarize(trace)
  note(`an account at a simulated GLM, used by ${processes === 1 ? 'one process' : `${processes} processes`}`)
  if (redis !== undefined && processes > 1) note('store: the Redis of REDIS_URL')
  await replayAndPrint(
    {
      trace,
      summary,
      processes,
      speed,
      limits: LIMITS,
      busy: 1,
      latencyMs: LATENCY_MS,
      pool: { model: 'glm-4-plus', provider: 'glm' },
      guardMs: GUARD_MS,
      seed,
      compare: true,
      note,
      ...(redis !== undefined && processes > 1 && { redis }),
    },
    summary.durationMs,
    json,
  )
}
