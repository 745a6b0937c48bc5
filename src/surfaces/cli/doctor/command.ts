import { Command } from 'commander'
import type { ResolvedConfig } from '../../../config.js'
import type { MonitoringStats } from '../../../monitoring.js'
import { type FleetObserver, observeFleet } from '../../../observer.js'
import { outputColors, outputColumns } from '../terminal.js'
import { answer } from './answers.js'
import { type Check, checkOf, within } from './check.js'
import { checkConfig } from './config.js'
import { judgeCounts } from './counts.js'
import { judgeKinds, judgeNeighbours, judgeStanding, type PoolStanding, standingsOf } from './limits.js'
import { type Report, renderReport } from './print.js'
import { checkProvider, tryCall } from './provider.js'
import { checkRedis } from './redis.js'
import { scrub, secretsOf } from './secrets.js'

const STORE_LIMIT_MS = 5_000
/** Lines of a file that somebody may keep: no wider than a page. */
const MAX_COLUMNS = 120

interface DoctorFlags {
  readonly config?: string
  readonly call?: true
  readonly strict?: true
  readonly json?: true
}

/** `headgate doctor`: looks everything over that a gate depends on, and says what to change. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check config, Redis, providers and limits, and say what to change; exits 1 if there is a problem')
    .option(
      '--config <file>',
      "the gate's options, JSON or a module; default: the environment alone, as serve reads it",
    )
    .option('--call', 'besides, make one small call to each pool, which its provider charges for')
    .option('--strict', 'exit 1 for warnings too')
    .option('--json', 'print one JSON object instead: { ok, problems, warnings, checks, answers }')
    .action(doctor)
}

async function doctor(flags: DoctorFlags): Promise<void> {
  const { env } = process
  const { checks, options, config, redisAlone } = await checkConfig(flags.config, env)
  const readable = config ?? redisAlone
  const observer = readable && observeFleet(readable)
  try {
    const redis = await lookAtRedis(config, readable, observer)
    const pools = [...(config?.pools.values() ?? [])]
    const providers = (await Promise.all(pools.map(checkProvider))).flat()
    const calls = flags.call && options ? await oneByOne(pools, (pool) => tryCall(pool, options)) : []
    const all = unique([
      ...checks,
      ...redis.checks,
      ...providers,
      ...calls,
      ...redis.standings.flatMap(judgeStanding),
      ...redis.counts,
    ])
    const answers = answer({ ...redis, checks: all, hasRedis: readable && observer !== undefined })
    const tally = (status: Check['status']) => all.filter((check) => check.status === status).length
    const report = { problems: tally('problem'), warnings: tally('warning'), checks: all, answers }
    const ok = report.problems === 0 && (!flags.strict || report.warnings === 0)
    process.stdout.write(scrub(render(report, ok, flags.json), secretsOf(options, env)))
    process.exitCode = ok ? 0 : 1
  } finally {
    await observer?.close()
  }
}

interface RedisView {
  readonly checks: readonly Check[]
  readonly standings: readonly PoolStanding[]
  readonly counts: readonly Check[]
  readonly stats?: MonitoringStats
}

const NOTHING_READ = { standings: [], counts: [] }

async function lookAtRedis(
  config: ResolvedConfig | undefined,
  readable: ResolvedConfig | undefined,
  observer: FleetObserver | undefined,
): Promise<RedisView> {
  if (!readable) {
    return { ...NOTHING_READ, checks: [checkOf('redis.connect', 'redis').skipped("the config doesn't say where")] }
  }
  if (!observer) {
    const advice = 'fine for one process; several that share a key need REDIS_URL, or "redis" in the config'
    const none = checkOf('redis.connect', 'redis').warning('none: limits hold within this process alone', advice)
    return { ...NOTHING_READ, checks: [none] }
  }
  const checks = await checkRedis(observer, readable.namespace)
  // Which limits the fleet keeps can be told only by pools.
  if (!config) return { ...NOTHING_READ, checks }
  if (checks.some(({ id, status }) => (id === 'redis.connect' || id === 'redis.scripts') && status === 'problem')) {
    return { ...NOTHING_READ, checks }
  }
  try {
    const looks = Promise.all([observer.usage(), observer.health.groups(), observer.stats()])
    const [groups, found, stats] = await within(STORE_LIMIT_MS, looks)
    return {
      checks: [...checks, judgeNeighbours(config, observer.groups, found), ...judgeKinds(groups)],
      standings: standingsOf(config, groups),
      counts: judgeCounts(stats),
      stats,
    }
  } catch (error) {
    const check = checkOf('redis.fleet', 'fleet').problem((error as Error).message, 'see the checks of Redis above')
    return { ...NOTHING_READ, checks: [...checks, check] }
  }
}

function render(report: Report, ok: boolean, json: boolean | undefined): string {
  if (json) return `${JSON.stringify({ ok, ...report })}\n`
  return renderReport(report, outputColors(), Math.min(MAX_COLUMNS, outputColumns()))
}

/** What several pools share is told once. */
function unique(checks: readonly Check[]): Check[] {
  const seen = new Set<string>()
  return checks.filter(({ id, said }) => {
    const key = `${id} ${said}`
    const isNew = !seen.has(key)
    seen.add(key)
    return isNew
  })
}

async function oneByOne<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (const item of items) results.push(await work(item))
  return results
}
