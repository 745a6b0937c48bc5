import { Command, Option } from 'commander'
import { loadConfigFile, loadDotEnv, type PoolConfig, resolveConfig } from '../../../config.js'
import type { Rate } from '../../../durations.js'
import { CliError } from '../errors.js'
import { countOption, durationOption, factorOption, oneOf, rateOption, shareOption } from '../parse.js'
import { exitOnSignals, note } from '../terminal.js'
import type { ReplayLimits } from './limits.js'
import { progressView } from './progress.js'
import type { RedisTarget, ReplayPool } from './protocol.js'
import { type ReplayOptions, replayTrace } from './replay.js'
import { renderTable } from './table.js'
import { summarize, traceFile } from './trace.js'

interface ReplayFlags {
  readonly config?: string
  readonly processes: number
  readonly speed: number
  readonly limitRows?: number
  readonly json?: boolean
  readonly compare?: boolean
  readonly busy: number
  readonly killAt?: number
  readonly requests?: Rate
  readonly tokens?: Rate
  readonly concurrency?: number
  readonly latency: number
  readonly guard?: number
  readonly profile: 'glm' | 'deepseek' | 'openai'
  readonly seed: number
}

const DEFAULT_GUARD_MS = 150
const MODELS = { glm: 'glm-4-plus', deepseek: 'deepseek-chat', openai: 'gpt-4o-mini' } as const

const HELP = `
The trace needs the columns TIMESTAMP, ContextTokens and GeneratedTokens. The provider is the simulator, over real HTTP.
With --speed X the rows come X times faster, and windows, latency and backoff shrink alike; the guard and the 50 ms of
slack against jitter do not, so that they take a larger share of each window. Added latency is given in trace time
(real time × speed): from the instant a row was due to its end, less what its last call took.
Worst window and 429s come from the provider's own log. Utilisation while backlogged is the mean, over all stretches as
long as the shortest window throughout which a request was waiting, of the use of whichever limit was fullest.`

/** `headgate replay`: a trace through a fleet of processes, against a simulated provider. */
export function replayCommand(): Command {
  return new Command('replay')
    .description('replay a trace through a fleet of processes against a simulated provider')
    .argument('<trace.csv>', 'the trace')
    .option('--config <file>', "take the first pool's limits, retries and Redis from the gate's options")
    .option('--processes <n>', 'worker processes; more than one share a Redis', countOption, 4)
    .option('--speed <x>', 'so many times faster than real time', factorOption, 1)
    .option('--limit-rows <n>', 'stop after so many rows', countOption)
    .option('--requests <rate>', 'limit of requests per window, e.g. 50/1m', rateOption)
    .option('--tokens <rate>', 'limit of LLM tokens per window, e.g. 100000/1m', rateOption)
    .option('--concurrency <n>', 'limit of requests in flight', countOption)
    .option(
      '--busy <share>',
      "without limits: choose them so that the trace's mean use is this share",
      shareOption,
      0.3,
    )
    .option(
      '--profile <name>',
      'the simulated provider: glm, deepseek or openai',
      oneOf('glm', 'deepseek', 'openai'),
      'glm',
    )
    .addOption(
      new Option('--latency <duration>', 'how long an answer takes, in trace time')
        .argParser(durationOption)
        .default(200, '200ms'),
    )
    .option('--guard <duration>', 'room for network jitter, in real time (default: 150ms)', durationOption)
    .option('--compare', 'replay unprotected callers with SDK-style retries too: before and after')
    .option('--kill-at <share>', "SIGKILL one worker when this share of the trace's time has passed", shareOption)
    .option('--seed <n>', 'seed of latency and jitter', countOption, 1)
    .option('--json', 'print one JSON object instead of a table')
    .addHelpText('after', HELP)
    .action(replay)
}

async function replay(path: string, flags: ReplayFlags): Promise<void> {
  exitOnSignals()
  const { processes, speed, busy, latency: latencyMs, seed, compare = false, killAt, limitRows } = flags
  const trace = traceFile(path, limitRows)
  const source = await sourceOf(flags)
  const summary = await summarize(trace)
  const { redis } = source
  if (redis !== undefined) note(`store: Redis at ${hostOf(redis)}`)
  const options: ReplayOptions = {
    ...source,
    trace,
    summary,
    processes,
    speed,
    busy,
    latencyMs,
    seed,
    compare,
    note,
    ...(killAt !== undefined && { killAt }),
  }
  await replayAndPrint(options, summary.durationMs, flags.json ?? false)
}

/** Replays with progress on stderr, and prints the result on stdout. */
export async function replayAndPrint(options: ReplayOptions, traceMs: number, json: boolean): Promise<void> {
  const view = progressView()
  let mode: string | undefined
  const report = await replayTrace({
    ...options,
    note: (line) => {
      view.end()
      options.note?.(line)
    },
    onProgress: (progress) => {
      if (mode !== undefined && mode !== progress.mode) view.end()
      mode = progress.mode
      view.show(progress)
    },
  }).finally(() => view.end())
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : renderTable(report, traceMs))
  if (!json) note(`latency is in trace time: real time × ${options.speed}`)
}

type Source = Pick<ReplayOptions, 'pool' | 'limits' | 'guardMs' | 'redis'>

async function sourceOf(flags: ReplayFlags): Promise<Source> {
  const { env } = process
  loadDotEnv(process.cwd(), env)
  const envRedis = env.REDIS_URL ? { redis: env.REDIS_URL } : {}
  const own = limitsOf(flags)
  const { config: file, profile, guard: guardMs } = flags
  if (file === undefined) {
    const pool: ReplayPool = { model: MODELS[profile], provider: profile }
    return { pool, guardMs: guardMs ?? DEFAULT_GUARD_MS, ...(own && { limits: own }), ...envRedis }
  }
  const config = resolveConfig(await loadConfigFile(file, env))
  const [pool] = config.pools.values()
  if (!pool) throw new CliError(`${file}: there is no pool to replay`)
  if (config.pools.size > 1) note(`replaying pool ${pool.name}, the first of ${config.pools.size}`)
  if (pool.limits.also.length > 0) note(`pool ${pool.name} also draws on limit sets: they are not replayed`)
  return {
    pool: poolOf(pool),
    guardMs: guardMs ?? pool.guardMs,
    limits: own ?? { ...pool.limits },
    ...(config.redis === undefined ? envRedis : { redis: portable(config.redis, file) }),
  }
}

function limitsOf({ requests, tokens, concurrency }: ReplayFlags): ReplayLimits | undefined {
  if (!requests && !tokens && concurrency === undefined) return undefined
  return {
    requests: requests ? [requests] : [],
    tokens: tokens ? [tokens] : [],
    ...(concurrency !== undefined && { concurrency }),
  }
}

function poolOf(pool: PoolConfig): ReplayPool {
  const { name, provider, adaptive, slackMs, degradedMessage, retry, maxQueued, maxActive } = pool
  const known = (['glm', 'glm-intl', 'glm-coding', 'deepseek', 'openai'] as const).find((one) => one === provider.name)
  return {
    model: name,
    provider: known ?? 'openai',
    adaptive,
    slackMs,
    retry,
    queue: { maxQueued, maxActive },
    ...(degradedMessage !== undefined && { degradedMessage }),
  }
}

/** Workers are other processes: a client can't be handed over to them. */
function portable(redis: unknown, file: string): RedisTarget {
  const isPlain = typeof redis === 'object' && redis !== null && Object.getPrototypeOf(redis) === Object.prototype
  if (typeof redis === 'string' || isPlain) return redis as RedisTarget
  throw new CliError(`${file}: replay needs "redis" as a URL or options, got a client`)
}

function hostOf(redis: RedisTarget): string {
  if (typeof redis !== 'string') return `${redis.host ?? '127.0.0.1'}:${redis.port ?? 6379}`
  return URL.canParse(redis) ? new URL(redis).host : 'REDIS_URL'
}
