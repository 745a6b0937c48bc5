import * as z from 'zod'
import { alertSchema } from './alert-schema.js'
import type { GateLogger, GateOptions } from './config.js'
import { durationMsOf, type Rate, rateOf, SLACK_MS } from './durations.js'
import { strictObject } from './strict-object.js'
import { type CompletionCount, PROVIDER_NAMES, type Provider, providerByName } from './providers/index.js'

const DEFAULT_NAMESPACE = 'headgate'
const DEFAULT_GUARD_MS = 150
/** What is granted for now has to come from the store and be handed over within it, or it is asked for again and again. */
const MIN_SLACK_MS = 10
const DEFAULT_TIMEOUT_MS = 600_000
const DEFAULT_MAX_PAUSE_MS = 60_000
const DEFAULT_RETRY = { maxAttempts: 6, baseMs: 500, capMs: 30_000 }
/** In a window of 10 s: 100 retries and one for every fifth request. */
const DEFAULT_RETRY_BUDGET = { ratio: 0.2, minPerSecond: 10 }
const NO_RETRY_BUDGET = { ratio: 0, minPerSecond: Number.POSITIVE_INFINITY }
const DEFAULT_CACHE = { maxEntries: 1000, maxBytes: 64 * 1024 * 1024, ttlMs: 3_600_000, staleTtlMs: 86_400_000 }
const MAX_WEIGHT = 1_000_000
const DAY_MS = 86_400_000
/** No provider counts for longer than a year: what is longer is a slip. */
const MAX_WINDOW_MS = 366 * DAY_MS
/** Of what waits for a pool in one process: memory ends. */
const MAX_PLACES = 1_000_000

/** Names go into store keys and ids, where `|`, braces and spaces would have a meaning. */
const NAME = /^[A-Za-z0-9._:/-]{1,100}$/
const PRINTABLE_ASCII = /^[\x21-\x7e]+$/

/** An `error` says what was expected: the message is built around it. */
const name = z.string().regex(NAME)
const flag = z.boolean({ error: 'true or false' })
const text = z.string({ error: 'a non-empty string' }).min(1, { error: 'a non-empty string' })
const count = z.int({ error: 'a whole number ≥ 1' }).min(1, { error: 'a whole number ≥ 1' })
const duration = (leastMs: number) =>
  readAs(`ms (a number) or a duration such as '30s', ≥ ${leastMs} ms`, (value) => {
    const valueMs = durationMsOf(value)
    return valueMs !== undefined && valueMs >= leastMs ? valueMs : undefined
  })

/** What `read` makes of a value; undefined is a problem. */
function readAs<T>(expected: string, read: (value: unknown) => T | undefined) {
  return z.unknown().transform((value, context): T => {
    const result = read(value)
    if (result !== undefined) return result
    context.addIssue({ code: 'custom', message: expected })
    return z.NEVER
  })
}

/** A list without repetitions. */
function listOf(expected: string, least = 0) {
  const error = `an array of ${expected}, each once`
  return z
    .array(text, { error })
    .min(least, { error })
    .refine((items) => new Set(items).size === items.length, { error })
}

const WINDOW = `a window of at most ${MAX_WINDOW_MS / DAY_MS}d`
const RATES = "{ limit, per }, a string such as '50/1m', or an array of these"
const perWindow = duration(1).refine((perMs) => perMs <= MAX_WINDOW_MS, { error: WINDOW })
const rate = z.union(
  [
    strictObject({ limit: count, per: perWindow }).transform(({ limit, per }): Rate => ({ limit, windowMs: per })),
    readAs(RATES, (value) => (typeof value === 'string' ? rateOf(value) : undefined)),
  ],
  { error: RATES },
)
const rates = z
  .union([rate.transform((one) => [one]), z.array(rate)], { error: RATES })
  .refine((all) => all.every(({ windowMs }) => windowMs <= MAX_WINDOW_MS), { error: WINDOW })
  .refine((all) => new Set(all.map(({ windowMs }) => windowMs)).size === all.length, {
    error: 'windows that differ',
  })
  .default([])
const dimensions = { requests: rates, tokens: rates, concurrency: count.optional() }
const LIMITS = 'an object with requests, tokens or concurrency'
const someLimits = strictObject(dimensions, LIMITS).refine(isLimited, { error: LIMITS, when: isSound })
const places = count.max(MAX_PLACES, { error: `a whole number ≤ ${MAX_PLACES}` })
const queue = strictObject(
  { maxQueued: places.optional(), maxActive: places.optional() },
  'an object with maxQueued or maxActive',
)
const retry = strictObject(
  {
    maxAttempts: count.default(DEFAULT_RETRY.maxAttempts),
    baseMs: duration(0).default(DEFAULT_RETRY.baseMs),
    capMs: duration(0).default(DEFAULT_RETRY.capMs),
  },
  'an object with maxAttempts, baseMs or capMs',
)
const price = z.number({ error: 'a number ≥ 0' }).min(0, { error: 'a number ≥ 0' })
const prices = strictObject(
  { currency: text, promptPer1M: price, completionPer1M: price },
  'an object with currency, promptPer1M and completionPer1M',
)
const RETRY_BUDGET = 'false, or an object with ratio or minPerSecond'
const share = z.number({ error: 'a number ≥ 0' }).min(0, { error: 'a number ≥ 0' })
const retryBudget = z.union(
  [
    strictObject({
      ratio: share.default(DEFAULT_RETRY_BUDGET.ratio),
      minPerSecond: share.default(DEFAULT_RETRY_BUDGET.minPerSecond),
    }),
    z.literal(false).transform(() => NO_RETRY_BUDGET),
  ],
  { error: RETRY_BUDGET },
)
const CACHE_STORES = ['memory', 'redis'] as const
const cache = strictObject(
  {
    maxEntries: count.default(DEFAULT_CACHE.maxEntries),
    maxBytes: count.default(DEFAULT_CACHE.maxBytes),
    ttl: duration(0).default(DEFAULT_CACHE.ttlMs),
    staleTtl: duration(0).default(DEFAULT_CACHE.staleTtlMs),
    store: z.enum(CACHE_STORES, { error: "'memory' or 'redis'" }).default('memory'),
    acrossTenants: flag.default(false),
    coalesce: flag.default(false),
  },
  'an object with maxEntries, maxBytes, ttl, staleTtl, store, acrossTenants or coalesce',
)
const TOKENIZERS = ['auto', 'chars', 'gpt-tokenizer'] as const
const MODELS = 'an array of model names, each once, or an object of the provider’s own names by model'
const models = z.union(
  [listOf('model names', 1), z.record(text, text).refine((map) => Object.keys(map).length > 0, { error: MODELS })],
  {
    error: MODELS,
  },
)
const BASE_URL = 'an http or https URL without a query'
const pool = strictObject(
  {
    provider: readAs(`one of ${PROVIDER_NAMES.join(', ')}, or a Provider object`, providerOf),
    apiKey: z
      .string({ error: 'a string' })
      .regex(PRINTABLE_ASCII, { error: 'printable ASCII without spaces' })
      .optional(),
    baseURL: readAs(BASE_URL, (value) => (isBaseURL(value) ? value : undefined)).optional(),
    models: models.optional(),
    limits: strictObject({ ...dimensions, also: listOf('names of limitSets').default([]) }, `${LIMITS}, or also`)
      .refine(({ also, ...limits }) => also.length > 0 || isLimited(limits), {
        error: `${LIMITS}, or also; left out there are none`,
        when: isSound,
      })
      .default({ requests: [], tokens: [], also: [] }),
    adaptive: flag.optional(),
    guardMs: duration(0).default(DEFAULT_GUARD_MS),
    slackMs: duration(MIN_SLACK_MS).default(SLACK_MS),
    holdUntilCallDeadline: flag.default(false),
    timeout: duration(1).default(DEFAULT_TIMEOUT_MS),
    maxPause: readAs("ms (a number) or a duration such as '30s', ≥ 1 ms, or false", (value) => {
      const valueMs = value === false ? Number.POSITIVE_INFINITY : durationMsOf(value)
      return valueMs !== undefined && valueMs >= 1 ? valueMs : undefined
    }).default(DEFAULT_MAX_PAUSE_MS),
    retry: retry.default(DEFAULT_RETRY),
    tokenizer: z.enum(TOKENIZERS, { error: `one of ${TOKENIZERS.join(', ')}` }).default('auto'),
    fallback: listOf('names of pools').default([]),
    degradedMessage: text.optional(),
    queue: queue.optional(),
    prices: prices.optional(),
  },
  'an object that describes a pool',
).superRefine(({ provider, baseURL }, context) => {
  const message = baseURLProblem(provider, baseURL)
  if (message !== undefined) context.addIssue({ code: 'custom', path: ['baseURL'], message })
})
const tenant = strictObject(
  {
    weight: z
      .number({ error: 'a number > 0' })
      .positive({ error: 'a number > 0' })
      .max(MAX_WEIGHT, { error: `a number ≤ ${MAX_WEIGHT}` })
      .default(1),
    limits: someLimits.optional(),
  },
  'an object with weight or limits',
)
const REDIS = 'a URL redis://[:password@]host:port/db, ioredis options or a client'
export const gateSchema = strictObject(
  {
    redis: readAs(REDIS, (value) => (isRedis(value) ? value : undefined)).optional(),
    namespace: z
      .string({ error: 'a string' })
      .regex(NAME, { error: 'up to 100 letters, digits or . _ : / -' })
      .default(DEFAULT_NAMESPACE),
    pools: z.record(name, pool, { error: 'an object of pools by name' }),
    limitSets: z.record(name, someLimits, { error: 'an object of limits by name' }).default({}),
    tenants: z.record(name, tenant, { error: 'an object of tenants by name' }).default({}),
    queue: queue.default({}),
    retryBudget: retryBudget.default(DEFAULT_RETRY_BUDGET),
    cache: cache.optional(),
    logger: readAs('an object with the methods debug, info and warn', (value) =>
      hasMethods<GateLogger>(value, 'debug', 'info', 'warn') ? value : undefined,
    ).optional(),
    inspect: readAs('true, false, a function or an observer', (value) =>
      typeof value === 'boolean' || typeof value === 'function' || hasMethods<{ next: unknown }>(value, 'next')
        ? (value as NonNullable<GateOptions['inspect']>)
        : undefined,
    ).default(false),
    shadow: flag.default(false),
    monitoring: flag.default(true),
    alerts: alertSchema,
    isolatedMaxMs: duration(0).default(0),
  },
  'an object',
)

export type ParsedCache = z.output<typeof cache>
export type ParsedPool = z.output<typeof pool>

/** Of what is wrong already, nothing more is said. */
function isSound({ issues }: z.core.ParsePayload): boolean {
  return issues.length === 0
}

function isLimited(limits: { requests: Rate[]; tokens: Rate[]; concurrency?: number | undefined }): boolean {
  return limits.requests.length + limits.tokens.length > 0 || limits.concurrency !== undefined
}

function providerOf(value: unknown): Provider | undefined {
  if (typeof value === 'string') return providerByName(value)
  if (!hasMethods<Provider>(value, 'authHeaders', 'classify', 'usage')) return undefined
  const { name, baseURL, chatPath, limitsConcurrency, refundsEstimate, streamUsageOnRequest = false } = value
  const { countsCompletion = 'up-front', classifyChunk, streamUsage, endsStream, limitObservations } = value
  const texts = [name, chatPath, baseURL ?? ''].every((part) => typeof part === 'string')
  const flags = [limitsConcurrency, refundsEstimate, streamUsageOnRequest].every((part) => typeof part === 'boolean')
  const optional = [classifyChunk, streamUsage, endsStream, limitObservations]
  const methods = optional.every((part) => part === undefined || typeof part === 'function')
  return texts && flags && methods && COUNTS.includes(countsCompletion) ? value : undefined
}

const COUNTS: readonly CompletionCount[] = ['up-front', 'as-produced', 'never']

function hasMethods<T>(value: unknown, ...names: (keyof T)[]): value is T {
  if (typeof value !== 'object' || value === null) return false
  return names.every((name) => typeof (value as T)[name] === 'function')
}

function isBaseURL(value: unknown): value is string {
  if (typeof value !== 'string' || !URL.canParse(value)) return false
  const { protocol, hash } = new URL(value)
  return (protocol === 'http:' || protocol === 'https:') && hash === ''
}

/** What was expected of a pool's base URL, if it won't do. Only the provider knows what a query is good for. */
function baseURLProblem({ baseURL: own, baseURLForm: form }: Provider, baseURL: string | undefined) {
  if (baseURL === undefined) {
    if (own !== undefined) return undefined
    return `${form?.expected ?? 'an http or https URL'}, because the provider has none of its own`
  }
  const url = new URL(baseURL)
  if (form) return form.accepts(url) ? undefined : form.expected
  return url.search === '' ? undefined : BASE_URL
}

/** As ioredis reads it: a URL, the path of a socket, or an object (options or a client, passed on as it is). */
function isRedis(value: unknown): value is NonNullable<GateOptions['redis']> {
  if (typeof value !== 'string') return typeof value === 'object' && value !== null && !Array.isArray(value)
  if (/^\/[^/]/.test(value)) return true
  // A password with an unescaped `#`, `/` or `?` ends up here: it breaks the URL.
  return /^rediss?:\/\//i.test(value) && URL.canParse(value) && new URL(value).hostname !== ''
}
