import type { PoolConfig, ResolvedConfig } from '../../../config.js'
import type { LimitSpec, LimitUsage } from '../../../limits/store.js'
import type { ObservedGroup } from '../../../observer.js'
import { type Check, checkOf, msText } from './check.js'

const NEARLY_FULL_SHARE = 0.95
/** A window that a person notices when it is spent; shorter ones are full whenever a fleet is busy. */
const LONG_WINDOW_MS = 3_600_000
/** A pool that only learns its slots is given so many to begin with: see the plan of limits. */
const LEARNED_ONLY = 4096

/** One limit: as configured here, and as the fleet keeps it. */
export interface LimitStanding {
  readonly spec: LimitSpec
  readonly usage: LimitUsage
}

/** What the fleet remembers of one pool. */
export interface PoolStanding {
  readonly pool: PoolConfig
  readonly limits: readonly LimitStanding[]
  /** Left of a cool-down, ms; `Infinity` while paused by an operator. */
  readonly pausedMs: number
}

/** The store's memory, by pool: its own limits and those of its sets. */
export function standingsOf(config: ResolvedConfig, groups: readonly ObservedGroup[]): PoolStanding[] {
  return groups.flatMap(({ spec, usage }) =>
    spec.pools.map((name, index) => {
      const limits = spec.draws[index]!.map((at) => ({ spec: spec.limits[at]!, usage: usage.limits[at]! }))
      const untilMs = usage.pausedUntilMs[name] ?? 0
      return { pool: config.pools.get(name)!, limits, pausedMs: Math.max(0, untilMs - usage.nowMs) }
    }),
  )
}

/** How each limit holds against what the provider has refused, and what to configure instead. */
export function judgeStanding({ pool, limits, pausedMs }: PoolStanding): Check[] {
  const { name } = pool
  const checks = limits.flatMap(judgeLimit)
  if (pausedMs > 0) checks.push(judgePause(name, pausedMs))
  if (checks.length === 0) {
    const said =
      limits.length === 0 ? 'no limit is configured' : limits.map(({ spec }) => configuredText(spec)).join(', ')
    checks.push(
      checkOf(`pool.${name}.limits`, `${name}: limits`).ok(`${said}: nothing refused that the fleet remembers`),
    )
  }
  return checks
}

function judgeLimit({ spec, usage }: LimitStanding): Check[] {
  const check = checkOf(`limit.${spec.id}`, `${ownerOf(spec)}: ${spec.windowMs === 0 ? 'in flight' : spec.dimension}`)
  const verdicts: Check[] = []
  if (usage.limit !== spec.limit) {
    const advice = 'gate.updatePool moved it, or a process runs with another config: deploy one config to all'
    verdicts.push(check.warning(`configured ${configuredText(spec)}, the fleet keeps ${usage.limit}`, advice))
  }
  // A probe under way is a question, no answer.
  if (usage.proven < usage.limit) {
    const configured =
      spec.limit === LEARNED_ONLY && spec.windowMs === 0
        ? 'no limit in flight configured'
        : `configured ${configuredText(spec)}`
    const said = `${configured}, the provider refused more than ${usage.proven}`
    verdicts.push(
      check.warning(
        said,
        `set ${settingOf(spec, usage.proven)}; if the account is allowed more, somebody else uses the key`,
      ),
    )
  }
  if (usage.used >= usage.limit * NEARLY_FULL_SHARE) {
    if (spec.windowMs >= LONG_WINDOW_MS) {
      const state = usage.used >= usage.limit ? 'calls wait' : 'soon calls wait'
      const said = `${usage.used} of ${configuredText({ ...spec, limit: usage.limit })} used: ${state} until what was used first is ${windowText(spec.windowMs)} old`
      const advice =
        "raise the limit if the account has more; else name a fallback pool, or give tenants limits of their own: one of them can't spend it all then"
      verdicts.push(check.warning(said, advice))
    } else if (verdicts.length === 0) {
      verdicts.push(check.ok(`${usage.used} of ${configuredText(spec)} used now: calls wait for it`))
    }
  }
  return verdicts
}

function judgePause(name: string, pausedMs: number): Check {
  const check = checkOf(`pool.${name}.pause`, `${name}: pause`)
  if (pausedMs === Number.POSITIVE_INFINITY)
    return check.warning('paused by an operator', `gate.resume('${name}') ends it`)
  const advice =
    pausedMs > 60_000
      ? "so long means an empty balance or a used-up quota: see the provider's console; resume(pool) ends it earlier"
      : 'the provider said that it is overloaded or that the rate was too high; it passes by itself'
  return check.warning(`cools down for another ${msText(pausedMs)}`, advice)
}

/** The pool's name; of what several pools share, what it is. */
function ownerOf({ id, dimension }: LimitSpec): string {
  const owner = id.slice(0, id.lastIndexOf(`:${dimension}`))
  return owner
    .replace(/^pool:/, '')
    .replace(/^set:/, 'limit set ')
    .replace(/^tenant:/, 'tenant ')
}

/** `5 in flight`, `50 requests a minute`. */
export function configuredText({ dimension, limit, windowMs }: LimitSpec): string {
  if (windowMs === 0) return limit === LEARNED_ONLY ? 'a learned number in flight' : `${limit} in flight`
  return `${limit} ${dimension} per ${windowText(windowMs)}`
}

function settingOf({ dimension, windowMs }: LimitSpec, value: number): string {
  return windowMs === 0 ? `concurrency: ${value}` : `${dimension}: '${value}/${windowText(windowMs)}'`
}

/** As a config takes it: `1m`, `90s`. */
function windowText(windowMs: number): string {
  for (const [unit, unitMs] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1_000],
  ] as const) {
    if (windowMs % unitMs === 0) return `${windowMs / unitMs}${unit}`
  }
  return `${windowMs}ms`
}

/** Processes that count other limits than these: what one does not count, it exceeds for all. */
export function judgeKinds(groups: readonly ObservedGroup[]): Check[] {
  return groups.flatMap(({ spec, configuredOtherwise }) => {
    if (configuredOtherwise === 0) return []
    const check = checkOf(`group.${spec.group}.config`, `${spec.pools.join(', ')}: config`)
    const who = configuredOtherwise === 1 ? '1 process keeps' : `${configuredOtherwise} processes keep`
    const said = `${who} other limits than this config: other dimensions or windows, guardMs or slackMs`
    return [check.warning(said, 'deploy one config to all: what a process does not count, the fleet may exceed')]
  })
}

/** Fleets in the same Redis that know nothing of each other and spend the same limits. */
export function judgeNeighbours(
  config: ResolvedConfig,
  own: readonly string[],
  found: readonly { readonly namespace: string; readonly group: string }[],
): Check {
  const check = checkOf('redis.namespaces', 'other fleets')
  const { namespace } = config
  const strangers = found.filter((other) => other.namespace !== namespace && own.includes(other.group))
  const apart = found.filter((other) => other.namespace === namespace && !own.includes(other.group))
  if (strangers.length > 0) {
    const names = [...new Set(strangers.map((other) => other.namespace))].sort()
    const advice = 'if they use the same key, give all one namespace: limits are kept within a namespace only'
    return check.warning(`pools of the same name are governed in namespace ${names.join(', ')} too`, advice)
  }
  if (apart.length > 0) {
    const names = apart.map(({ group }) => group).join(', ')
    const advice =
      'some process runs (or ran a minute ago) with other pools, limit sets or tenant limits: deploy one config to all'
    return check.warning(
      `in namespace ${namespace} the fleet also keeps ${names}, which this config does not make`,
      advice,
    )
  }
  return check.ok(`none that shares pools with namespace ${namespace}`)
}
