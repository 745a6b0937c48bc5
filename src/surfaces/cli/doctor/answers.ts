import type { MonitoringStats } from '../../../monitoring.js'
import type { Check } from './check.js'
import { waitsOf } from './counts.js'
import type { PoolStanding } from './limits.js'
import { configuredText } from './limits.js'

/** One of the questions that people come with, and what was seen that answers it, likeliest first. */
export interface Answer {
  readonly question: string
  readonly because: readonly string[]
}

const BUSY_SHARE = 0.9

export interface Seen {
  readonly checks: readonly Check[]
  readonly standings: readonly PoolStanding[]
  /** Undefined where the config can't be read. */
  readonly hasRedis: boolean | undefined
  /** What the fleet counted, where there is one. */
  readonly stats?: MonitoringStats | undefined
}

export function answer(seen: Seen): Answer[] {
  return [
    { question: 'Redis will not connect?', because: redisAnswers(seen) },
    { question: '1302 still comes?', because: refusalAnswers(seen) },
    { question: 'Calls got slow?', because: slownessAnswers(seen) },
  ]
}

function redisAnswers({ checks, hasRedis }: Seen): string[] {
  if (hasRedis === undefined) return ["Not looked at: the config doesn't say where it is. Mend that first, see above."]
  if (!hasRedis) return ['No Redis is configured: set REDIS_URL, or "redis" in the config.']
  const bad = checks.filter(({ id, status }) => id.startsWith('redis.') && status === 'problem')
  if (bad.length === 0) return ['It connects, and can do all that Headgate needs.']
  const connects = bad.every(({ id }) => id !== 'redis.connect')
  return [...(connects ? ['It connects; but something else is wrong with it:'] : []), ...bad.map(lineOf)]
}

function refusalAnswers(seen: Seen): string[] {
  const { checks, standings, hasRedis } = seen
  const because: string[] = []
  if (hasRedis === false)
    because.push(
      'Without Redis each process keeps the limits alone: two processes spend them twice. Set REDIS_URL in all.',
    )
  for (const check of found(checks, 'redis.namespaces', 'redis.eviction')) because.push(lineOf(check))
  for (const check of checks) {
    if (check.status === 'ok' || check.status === 'skipped') continue
    if (check.id.startsWith('limit.') || /\.(config|refusals)$/.test(check.id)) because.push(lineOf(check))
  }
  if (because.length > 0) return because
  const reason = unknown(seen)
  if (reason) return [reason]
  const limits = standings.flatMap((standing) => standing.limits.map(({ spec }) => configuredText(spec)))
  const kept = limits.length > 0 ? ` (${[...new Set(limits)].join(', ')})` : ''
  return [
    `Nothing here explains it: the fleet remembers no refusal. If it comes all the same, the account allows less than configured${kept}, or somebody uses the key outside Headgate: compare the provider's console with the fleet's count.`,
  ]
}

function slownessAnswers(seen: Seen): string[] {
  const { checks, standings, hasRedis, stats } = seen
  const because: string[] = []
  for (const check of checks) {
    const { id, status } = check
    if (status === 'ok' || status === 'skipped') continue
    const slow =
      hasRedis && ['redis.connect', 'redis.latency', 'redis.messages', 'redis.scripts', 'redis.memory'].includes(id)
    if (slow || id.endsWith('.pause') || id.startsWith('limit.') || id.endsWith('.guard')) because.push(lineOf(check))
  }
  for (const { pool, limits } of standings) {
    for (const { spec, usage } of limits) {
      if (usage.ceiling <= 0 || usage.used < usage.ceiling * BUSY_SHARE) continue
      const what = spec.windowMs === 0 ? 'All slots are taken' : 'The window is full'
      because.push(
        `${pool.name}: ${what}: ${usage.used} of ${usage.ceiling} (${configuredText(spec)}). Calls wait for it: raise the limit, or give urgent work priority 'high'.`,
      )
    }
  }
  if (stats) because.push(...waitsOf(stats))
  if (because.length > 0) return because
  const reason = unknown(seen)
  if (reason) return [reason]
  return [
    "Nothing holds calls back just now. Look at one call's outcome: queuedMs is your own bursts, waitedMs the limit, calledMs the provider, backedOffMs its refusals.",
  ]
}

/** Why the fleet could not be looked at, if so. */
function unknown({ checks, hasRedis, stats }: Seen): string | undefined {
  if (found(checks, 'config').length > 0) return 'Not known yet: mend the config first, see above.'
  return hasRedis && !stats ? "Not known: Redis, which remembers, can't be asked; see above." : undefined
}

function found(checks: readonly Check[], ...ids: readonly string[]): Check[] {
  return checks.filter(({ id, status }) => ids.includes(id) && (status === 'problem' || status === 'warning'))
}

function lineOf({ title, said, advice }: Check): string {
  const text = `${title}: ${said}`
  return advice === undefined ? text : `${text}. ${advice[0]!.toUpperCase()}${advice.slice(1)}`
}
