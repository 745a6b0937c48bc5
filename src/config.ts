import type { Redis, RedisOptions } from 'ioredis'
import type { InspectionEvent, Observer } from 'xstate'
import type { AlertConfig, AlertOptions } from './alerts.js'
import { describeIssues, problem } from './config-problems.js'
import { gateSchema, type ParsedCache, type ParsedPool } from './config-schema.js'
import type { Rate } from './durations.js'
import { HeadgateError } from './errors.js'
import { mixedWires } from './models.js'
import { wireOf } from './providers/apis.js'
import { type Provider, providerByName } from './providers/index.js'

export { configFromEnv, loadConfigFile, loadDotEnv } from './config-file.js'
export { type Rate, SLACK_MS } from './durations.js'

/** So many `per` window (ms, or a duration such as `1m`), or the same as a string: `50/1m`. */
export type RateOptions = string | { readonly limit: number; readonly per: number | string }

/** As XState's `createActor` takes it. */
type Inspect = ((event: InspectionEvent) => void) | Observer<InspectionEvent>

export interface LimitOptions {
  readonly requests?: RateOptions | readonly RateOptions[]
  readonly tokens?: RateOptions | readonly RateOptions[]
  /** Requests in flight. */
  readonly concurrency?: number
}

export interface QueueOptions {
  readonly maxQueued?: number
  readonly maxActive?: number
}

export interface PoolOptions {
  /** A profile's name, or a provider of your own. */
  readonly provider: string | Provider
  readonly apiKey?: string
  /** Default: the provider's; an `openai-compatible` one has none. */
  readonly baseURL?: string
  /**
   * Models that it serves, by default the one of the pool's name; as an object with the provider's own name of each. Pools
   * that list one model are deployments of it: its requests go where the wait is shortest.
   */
  readonly models?: readonly string[] | Readonly<Record<string, string>>
  /** `also` names limit sets that the pool draws on besides. */
  readonly limits?: LimitOptions & { readonly also?: readonly string[] }
  /** Learn the concurrency ceiling from refusals. Default: where the provider limits concurrency. */
  readonly adaptive?: boolean
  /** Jitter between the socket write and arrival at the provider. Default 150. */
  readonly guardMs?: number | string
  /** From a grant's date to the last moment its request may be written to the socket. Default 50, at least 10. */
  readonly slackMs?: number | string
  /** Keep a dead process's slots until its calls' own deadlines. Default false. */
  readonly holdUntilCallDeadline?: boolean
  /** The longest one call may take. Default 10m. */
  readonly timeout?: number | string
  /**
   * The longest pause of the pool that a request waits out unless it has a deadline of its own; a longer one it is told of at
   * once, with an error that says when to come back, where nothing answers in the pool's place. Default 1m; false: any.
   */
  readonly maxPause?: number | string | false
  /** Attempts in all, default 6; backoff from `baseMs` (500) to `capMs` (30 000). */
  readonly retry?: {
    readonly maxAttempts?: number
    readonly baseMs?: number | string
    readonly capMs?: number | string
  }
  /**
   * How LLM tokens of texts are counted: by characters, or by gpt-tokenizer, an optional peer. Default `auto`: that, where it
   * is installed, for OpenAI's and Azure's models in pools that limit tokens.
   */
  readonly tokenizer?: 'auto' | 'chars' | 'gpt-tokenizer'
  /** Pools to try, in order, when this one can't serve; each is asked for its first model. */
  readonly fallback?: readonly string[]
  readonly degradedMessage?: string
  /** Default: the gate's. */
  readonly queue?: QueueOptions
  /** What its LLM tokens cost, for the monitoring to add up. */
  readonly prices?: PriceConfig
}

/** Of a million LLM tokens. */
export interface PriceConfig {
  /** As it is to be shown, e.g. `CNY`. */
  readonly currency: string
  readonly promptPer1M: number
  readonly completionPer1M: number
}

/** Takes details and a message, as pino does. */
export interface GateLogger {
  debug(details: object, message: string): void
  info(details: object, message: string): void
  warn(details: object, message: string): void
}

/** What `createHeadgate` takes. */
export interface GateOptions {
  /** URL, ioredis options or a client; left out: an in-process store. */
  readonly redis?: string | RedisOptions | Redis
  /** Default `headgate`. */
  readonly namespace?: string
  readonly pools: Readonly<Record<string, PoolOptions>>
  readonly limitSets?: Readonly<Record<string, LimitOptions>>
  readonly tenants?: Readonly<Record<string, { readonly weight?: number; readonly limits?: LimitOptions }>>
  /** Bounds per pool: default 1000 queued, 256 past the queue. */
  readonly queue?: QueueOptions
  /**
   * What all requests of this process together may retry in any ten seconds: this share of the requests, and so many for
   * each second besides. Default 0.2 and 100; false: as much as each one may.
   */
  readonly retryBudget?: false | { readonly ratio?: number; readonly minPerSecond?: number }
  /**
   * Gives answers to the same question again: 1000 of them and 64 MiB in memory, for an hour; for a day after that they stand
   * in for one that can't be had. Kept in Redis too where `store` says so. Default: none.
   */
  readonly cache?: {
    readonly maxEntries?: number
    readonly maxBytes?: number
    readonly ttl?: number | string
    readonly staleTtl?: number | string
    readonly store?: 'memory' | 'redis'
    /** Whether tenants share their answers. Default false. */
    readonly acrossTenants?: boolean
    /** Whether the same questions in flight share one call. Default false. */
    readonly coalesce?: boolean
  }
  readonly logger?: GateLogger
  /** Let inspectors look at the machines (`true`), or pass every machine's inspection events to an observer. Default false. */
  readonly inspect?: boolean | Inspect
  /** Observe and report, never delay. Default false. */
  readonly shadow?: boolean
  /** Count for `monitoring()` and `rateLimitStats()`, fleet-wide through Redis. Default true. */
  readonly monitoring?: boolean
  /** What to be told of, and where; the log and `gate.on('alert')` are told as well. Needs `monitoring`. */
  readonly alerts?: AlertOptions
  /**
   * How long after its lease a process that lost Redis may go on from its own share of each limit, once everything granted
   * before has left the windows. For as long the share of a process that died stays unused. Default 0: it only waits.
   */
  readonly isolatedMaxMs?: number | string
}

export interface DimensionLimits {
  readonly requests: readonly Rate[]
  readonly tokens: readonly Rate[]
  readonly concurrency?: number
}

export interface PoolConfig {
  readonly name: string
  readonly provider: Provider
  readonly apiKey: string | undefined
  readonly baseURL: string
  readonly models: readonly string[]
  /** The provider's own names, where they differ. */
  readonly modelNames?: Readonly<Record<string, string>>
  readonly limits: DimensionLimits & { readonly also: readonly string[] }
  readonly adaptive: boolean
  readonly guardMs: number
  readonly slackMs: number
  readonly holdUntilCallDeadline: boolean
  readonly callTimeoutMs: number
  /** `Infinity` for any. */
  readonly maxPauseMs: number
  readonly retry: { readonly maxAttempts: number; readonly baseMs: number; readonly capMs: number }
  readonly tokenizer: 'auto' | 'chars' | 'gpt-tokenizer'
  readonly fallback: readonly string[]
  readonly degradedMessage?: string
  readonly prices?: PriceConfig
  readonly maxQueued: number
  readonly maxActive: number
}

export interface TenantConfig {
  readonly weight: number
  readonly limits?: DimensionLimits
}

interface CacheConfig {
  readonly maxEntries: number
  readonly maxBytes: number
  readonly ttlMs: number
  readonly staleTtlMs: number
  readonly store: 'memory' | 'redis'
  readonly acrossTenants: boolean
  readonly coalesce: boolean
}

export interface ResolvedConfig {
  readonly redis?: string | RedisOptions | Redis
  readonly namespace: string
  readonly pools: ReadonlyMap<string, PoolConfig>
  readonly limitSets: ReadonlyMap<string, DimensionLimits>
  readonly tenants: ReadonlyMap<string, TenantConfig>
  readonly retryBudget: { readonly ratio: number; readonly minPerSecond: number }
  readonly cache: CacheConfig | undefined
  readonly logger: GateLogger | undefined
  readonly inspect: boolean | Inspect
  readonly shadow: boolean
  readonly monitoring: boolean
  readonly alerts: AlertConfig
  readonly isolatedMaxMs: number
}

const DEFAULT_QUEUE = { maxQueued: 1000, maxActive: 256 }

/** Checks options and fills in the defaults. Throws CONFIG_INVALID, one line for each problem. */
export function resolveConfig(input: unknown): ResolvedConfig {
  const parsed = gateSchema.safeParse(input)
  const problems = [...describeIssues(parsed.error?.issues ?? [], input), ...crossCheck(input)]
  if (!parsed.success || problems.length > 0) throw new HeadgateError('CONFIG_INVALID', problems.join('\n'))
  const { redis, namespace, limitSets, tenants, queue, retryBudget, logger, inspect } = parsed.data
  const { shadow, monitoring, alerts, isolatedMaxMs, cache } = parsed.data
  const bounds = { ...DEFAULT_QUEUE, ...defined(queue) }
  const pools = new Map(
    Object.entries(parsed.data.pools).map(([name, pool]) => [name, poolConfig(name, pool, bounds)] as const),
  )
  const mixed = mixedWires(pools)
  if (mixed.length > 0) throw new HeadgateError('CONFIG_INVALID', mixed.join('\n'))
  return {
    ...(redis !== undefined && { redis }),
    namespace,
    pools,
    limitSets: new Map(Object.entries(limitSets)),
    tenants: new Map(Object.entries(tenants)),
    retryBudget,
    cache: cache && cacheConfig(cache),
    logger,
    inspect,
    shadow,
    monitoring,
    alerts,
    isolatedMaxMs,
  }
}

function cacheConfig({ ttl, staleTtl, ...same }: ParsedCache): CacheConfig {
  return { ...same, ttlMs: ttl, staleTtlMs: staleTtl }
}

function poolConfig(name: string, options: ParsedPool, bounds: typeof DEFAULT_QUEUE): PoolConfig {
  const { timeout, maxPause, queue, baseURL, models = [name], ...same } = options
  return {
    ...same,
    name,
    apiKey: options.apiKey,
    baseURL: (baseURL ?? options.provider.baseURL!).replace(/\/+$/, ''),
    ...(Array.isArray(models) ? { models } : { models: Object.keys(models), modelNames: models }),
    adaptive: options.adaptive ?? options.provider.limitsConcurrency,
    callTimeoutMs: timeout,
    maxPauseMs: maxPause,
    ...bounds,
    ...defined(queue),
  }
}

/** What no single value shows: names that lead nowhere. Works on raw input, so that all problems are listed at once. */
function crossCheck(input: unknown): string[] {
  const { pools, limitSets, tenants, cache, redis, alerts } = recordOf(input)
  const problems: string[] = []
  if (recordOf(cache).store === 'redis' && redis === undefined) {
    problems.push('cache.store: expected \'memory\' where no redis is configured, got "redis"')
  }
  for (const [key, names] of Object.entries({ pools, limitSets, tenants })) {
    // The one name that a plain object can't keep.
    if (Object.hasOwn(recordOf(names), '__proto__')) problems.push(`${key}.__proto__: unknown key`)
  }
  for (const [index, rule] of listOf(recordOf(alerts).rules).entries()) {
    const path = ['alerts', 'rules', index, 'pool']
    problems.push(...stranger(path, recordOf(rule).pool, 'a pool', Object.keys(recordOf(pools))))
  }
  for (const [name, value] of Object.entries(recordOf(pools))) {
    const { fallback, limits } = recordOf(value)
    const others = Object.keys(recordOf(pools)).filter((other) => other !== name)
    problems.push(...strangers(['pools', name, 'fallback'], fallback, 'another pool', others))
    problems.push(...otherWires(recordOf(pools), name, fallback))
    const sets = Object.keys(recordOf(limitSets))
    problems.push(...strangers(['pools', name, 'limits', 'also'], recordOf(limits).also, 'a limit set', sets))
  }
  return problems
}

/** An answer of another API could not be told from this one's by who asked. */
function otherWires(pools: Record<string, unknown>, name: string, fallback: unknown): string[] {
  const wireOfPool = (pool: unknown) => {
    const { provider } = recordOf(pools[String(pool)])
    const known = typeof provider === 'string' ? providerByName(provider) : recordOf(provider)
    return typeof known?.chatPath === 'string' ? wireOf({ chatPath: known.chatPath }) : undefined
  }
  const own = wireOfPool(name)
  return (Array.isArray(fallback) ? fallback : []).flatMap((other, index) => {
    const wire = wireOfPool(other)
    if (own === undefined || wire === undefined || wire === own) return []
    return [problem(['pools', name, 'fallback', index], `a pool that speaks ${own}'s API as this one does`, other)]
  })
}

function strangers(path: string[], names: unknown, kind: string, known: readonly string[]): string[] {
  return listOf(names).flatMap((name, index) => stranger([...path, index], name, kind, known))
}

function stranger(path: PropertyKey[], name: unknown, kind: string, known: readonly string[]): string[] {
  const expected = `the name of ${kind} (${known.join(', ') || 'there is none'})`
  return typeof name !== 'string' || known.includes(name) ? [] : [problem(path, expected, name)]
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : []
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

/** Without the keys whose value is undefined, so that a spread keeps the default. */
function defined<T extends object>(value: T | undefined): { [K in keyof T]: NonNullable<T[K]> } {
  const entries = Object.entries(value ?? {}).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries) as { [K in keyof T]: NonNullable<T[K]> }
}
