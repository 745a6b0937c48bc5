import { randomUUID } from 'node:crypto'
import { SLACK_MS } from '../../../durations.js'
import { CliError } from '../errors.js'
import { Fleet } from './fleet.js'
import { idealMeanWaitMs } from './ideal.js'
import { Killing, type KillReport } from './kill.js'
import { deriveLimits, describeLimits, type ReplayLimits, scaleLimits, spell } from './limits.js'
import type { ReplayProgress } from './progress.js'
import type { RedisTarget, ReplayMode, ReplayPool, WorkerSetup } from './protocol.js'
import { startProvider } from './provider-process.js'
import { type ModeReport, type ReplayReport, Tally } from './report.js'
import { sharedStore } from './store.js'
import { summarize, type Trace, type TraceSummary } from './trace.js'

/** What `headgate replay` does, for scripts. Times are trace time unless told. */
export interface ReplayOptions {
  readonly trace: Trace
  /** Left out: read from the trace first. */
  readonly summary?: TraceSummary
  readonly processes: number
  /** So many times faster than real time. */
  readonly speed: number
  /** Left out: derived from the trace and `busy`. */
  readonly limits?: ReplayLimits
  /** The share of its limits that the trace uses on average. */
  readonly busy: number
  readonly latencyMs: number
  readonly pool: ReplayPool
  /** Real ms: the network between this machine and itself does not run faster. */
  readonly guardMs: number
  readonly seed: number
  /** Replay unprotected callers too. */
  readonly compare?: boolean
  /** SIGKILL a worker when this share of the trace's time has passed. */
  readonly killAt?: number
  /** Left out: the embedded store for one process, an own redis-server for more. */
  readonly redis?: RedisTarget
  readonly note?: (line: string) => void
  readonly onProgress?: (progress: ReplayProgress) => void
}

interface Plan extends ReplayOptions {
  readonly summary: TraceSummary
  /** Scaled. */
  readonly limits: ReplayLimits
  readonly note: (line: string) => void
}

const PROGRESS_EVERY_MS = 250
/** Windows that are so little longer than guard and slack lose much of the limit to them. */
const NOTEWORTHY_LOSS = 0.02

/** Replays a trace through worker processes against a simulated provider, over real HTTP. */
export async function replayTrace(options: ReplayOptions): Promise<ReplayReport> {
  const { processes, killAt, speed, note = () => {} } = options
  if (killAt !== undefined && processes < 2) throw new CliError('--kill-at needs --processes 2 or more')
  const summary = options.summary ?? (await summarize(options.trace))
  const limits = options.limits ?? deriveLimits(summary, options.busy, options.latencyMs)
  const derived = options.limits ? '' : ` (the trace's mean use is ${options.busy} of them)`
  note(`limits: ${describeLimits(limits)}${derived}`)
  const idealMs = await idealMeanWaitMs(options.trace, limits, options.latencyMs)
  note(`under these limits an ideal scheduler would make requests wait ${(idealMs / 1000).toFixed(2)} s on average`)
  const largest = limits.tokens.find(({ limit }) => limit < summary.maxTokens)
  if (largest)
    note(`requests of up to ${summary.maxTokens} LLM tokens can't pass a limit of ${largest.limit}: they fail`)
  const plan: Plan = { ...options, summary, limits: scaleLimits(limits, speed), note }
  noteSpeed(plan)
  const store = await sharedStore(processes, options.redis, note)
  try {
    const unprotected = options.compare ? await replayMode(plan, 'unprotected', undefined) : undefined
    const governed = await replayMode(plan, 'governed', store.redis)
    return { governed, ...(unprotected && { unprotected }) }
  } finally {
    await store.stop()
  }
}

function noteSpeed({ speed, limits, guardMs, pool, note, summary }: Plan): void {
  const windowMs = Math.min(...[...limits.requests, ...limits.tokens].map((rate) => rate.windowMs))
  note(`${summary.rows} rows over ${spell(summary.durationMs)}, ${speed} times faster`)
  const { slackMs = SLACK_MS } = pool
  const loss = (guardMs + slackMs) / windowMs
  if (speed === 1 || loss < NOTEWORTHY_LOSS) return
  const share = (loss * 100).toFixed(1)
  note(
    `guard and slack stay ${guardMs} + ${slackMs} ms of real time: ${share} % of a ${Math.round(windowMs)} ms window`,
  )
}

async function replayMode(plan: Plan, mode: ReplayMode, redis: Plan['redis']): Promise<ModeReport> {
  const { pool, limits, guardMs, speed, seed, latencyMs, processes } = plan
  const provider = await startProvider({ provider: pool.provider, limits, latencyMs: latencyMs / speed, seed })
  const setup: WorkerSetup = {
    mode,
    pool,
    baseURL: provider.baseURL,
    limits,
    guardMs,
    speed,
    seed,
    namespace: `headgate-replay-${randomUUID().slice(0, 8)}`,
    ...(redis !== undefined && { redis }),
  }
  const tally = new Tally(mode, speed)
  const fleet = new Fleet(setup, processes, { onResult: (result, row) => tally.add(result, row) })
  const killing = mode === 'governed' && plan.killAt !== undefined ? new Killing(fleet, setup, plan.note) : undefined
  try {
    await (killing ? killing.startFleet() : fleet.start())
    const { startWallMs, killed } = await runFleet(plan, fleet, tally, killing)
    const report = await provider.report()
    return tally.report(report, await provider.log(), startWallMs, limits, killed)
  } finally {
    await Promise.all([fleet.stop(), killing?.close(), provider.stop()])
  }
}

async function runFleet(
  { trace, summary, speed, onProgress, killAt }: Plan,
  fleet: Fleet,
  tally: Tally,
  killing: Killing | undefined,
): Promise<{ startWallMs: number; killed: KillReport | undefined }> {
  const durationMs = summary.durationMs / speed
  const over = new AbortController()
  const show = () => {
    const share = durationMs === 0 ? 1 : Math.min(1, Math.max(0, fleet.elapsedMs / durationMs))
    onProgress?.({ mode: tally.mode, rows: summary.rows, ended: tally.ended, share, refused: fleet.refused })
  }
  const timer = setInterval(show, PROGRESS_EVERY_MS)
  try {
    const startWallMs = fleet.begin()
    killing?.arm((killAt ?? 0) * durationMs, over.signal)
    await fleet.replay(trace)
    over.abort()
    show()
    return { startWallMs, killed: await killing?.finish() }
  } finally {
    over.abort()
    clearInterval(timer)
  }
}
