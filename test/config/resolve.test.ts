import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { type GateOptions, resolveConfig } from '../../src/config.js'
import { HeadgateError } from '../../src/errors.js'
import { deepseek, glm, openaiCompatible } from '../../src/providers/index.js'

/** The message of the error that the options deserve. */
function complaint(options: unknown): string {
  try {
    resolveConfig(options)
  } catch (error) {
    expect(error).toBeInstanceOf(HeadgateError)
    expect((error as HeadgateError).code).toBe('CONFIG_INVALID')
    return (error as HeadgateError).message
  }
  throw new Error('accepted')
}

const withPool = (pool: object, rest: object = {}) => ({ pools: { p: { provider: 'glm', ...pool } }, ...rest })
const poolOf = (pool: object, rest: object = {}) => resolveConfig(withPool(pool, rest)).pools.get('p')!

describe('defaults', () => {
  it('fills in everything that a pool left out', () => {
    expect(poolOf({})).toEqual({
      name: 'p',
      provider: glm,
      apiKey: undefined,
      baseURL: 'https://open.bigmodel.cn/api/paas/v4',
      models: ['p'],
      limits: { requests: [], tokens: [], also: [] },
      adaptive: true,
      guardMs: 150,
      slackMs: 50,
      holdUntilCallDeadline: false,
      callTimeoutMs: 600_000,
      maxPauseMs: 60_000,
      retry: { maxAttempts: 6, baseMs: 500, capMs: 30_000 },
      tokenizer: 'auto',
      fallback: [],
      maxQueued: 1000,
      maxActive: 256,
    })
  })

  it('fills in everything that the gate left out', () => {
    expect(resolveConfig({ pools: {} })).toEqual({
      namespace: 'headgate',
      pools: new Map(),
      limitSets: new Map(),
      tenants: new Map(),
      retryBudget: { ratio: 0.2, minPerSecond: 10 },
      cache: undefined,
      logger: undefined,
      inspect: false,
      shadow: false,
      monitoring: true,
      alerts: { rules: [expect.objectContaining({ name: 'provider-429:1302' })], webhook: undefined },
      isolatedMaxMs: 0,
    })
  })

  it('fills in everything that the cache left out', () => {
    expect(resolveConfig({ pools: {}, cache: { ttl: '5m' } }).cache).toEqual({
      maxEntries: 1000,
      maxBytes: 67_108_864,
      ttlMs: 300_000,
      staleTtlMs: 86_400_000,
      store: 'memory',
      acrossTenants: false,
      coalesce: false,
    })
  })

  it('takes undefined for left out, as `process.env.X` gives it', () => {
    const options = withPool({ apiKey: undefined, limits: undefined, queue: { maxQueued: undefined } })
    expect(resolveConfig({ ...options, redis: undefined, queue: undefined }).pools.get('p')).toEqual(poolOf({}))
  })

  it('takes models with the names that the provider has for them', () => {
    const modelNames = { 'gpt-4o': 'prod-4o', small: 'mini' }
    expect(poolOf({ models: modelNames })).toMatchObject({ models: ['gpt-4o', 'small'], modelNames })
  })

  it('adapts where the provider limits concurrency, unless told otherwise', () => {
    const local = { provider: 'openai-compatible', baseURL: 'http://127.0.0.1:8000/v1/' }
    expect(poolOf({ provider: 'deepseek' }).adaptive).toBe(true)
    expect(poolOf({ provider: 'deepseek', adaptive: false }).adaptive).toBe(false)
    expect(poolOf(local)).toMatchObject({ adaptive: false, baseURL: 'http://127.0.0.1:8000/v1' })
    expect(poolOf({ ...local, adaptive: true }).adaptive).toBe(true)
  })
})

describe('values', () => {
  it('resolves the example of the contract', () => {
    const options: GateOptions = {
      redis: 'redis://:secret@127.0.0.1:6381/0',
      namespace: 'headgate',
      pools: {
        'glm-4-plus': {
          provider: 'glm',
          apiKey: 'id.secret',
          models: ['glm-4-plus'],
          limits: {
            requests: { limit: 50, per: '1m' },
            tokens: [{ limit: 100_000, per: '1m' }, '5000000/1d'],
            concurrency: 5,
            also: ['glm-account'],
          },
          adaptive: true,
          guardMs: 150,
          slackMs: 50,
          retry: { maxAttempts: 3, baseMs: '1s', capMs: 20_000 },
          fallback: ['deepseek-chat'],
          degradedMessage: '抱歉,系统繁忙,请稍后重试。',
          timeout: '2m',
          maxPause: '30s',
          queue: { maxQueued: 5 },
        },
        'deepseek-chat': { provider: deepseek },
      },
      limitSets: { 'glm-account': { requests: '200/1m' } },
      tenants: { batch: { weight: 1 }, web: { weight: 4, limits: { tokens: { limit: 1e6, per: '1d' } } } },
      queue: { maxActive: 7 },
      shadow: true,
      isolatedMaxMs: '5m',
    }
    const config = resolveConfig(options)
    expect(config).toMatchObject({ redis: options.redis, shadow: true, isolatedMaxMs: 300_000 })
    expect(config.pools.get('glm-4-plus')).toEqual({
      name: 'glm-4-plus',
      provider: glm,
      apiKey: 'id.secret',
      baseURL: glm.baseURL,
      models: ['glm-4-plus'],
      limits: {
        requests: [{ limit: 50, windowMs: 60_000 }],
        tokens: [
          { limit: 100_000, windowMs: 60_000 },
          { limit: 5_000_000, windowMs: 86_400_000 },
        ],
        concurrency: 5,
        also: ['glm-account'],
      },
      adaptive: true,
      guardMs: 150,
      slackMs: 50,
      holdUntilCallDeadline: false,
      callTimeoutMs: 120_000,
      maxPauseMs: 30_000,
      retry: { maxAttempts: 3, baseMs: 1000, capMs: 20_000 },
      tokenizer: 'auto',
      fallback: ['deepseek-chat'],
      degradedMessage: '抱歉,系统繁忙,请稍后重试。',
      maxQueued: 5,
      maxActive: 7,
    })
    expect(config.limitSets).toEqual(
      new Map([['glm-account', { requests: [{ limit: 200, windowMs: 60_000 }], tokens: [] }]]),
    )
    expect(config.tenants).toEqual(
      new Map<string, unknown>([
        ['batch', { weight: 1 }],
        ['web', { weight: 4, limits: { requests: [], tokens: [{ limit: 1_000_000, windowMs: 86_400_000 }] } }],
      ]),
    )
  })

  it.each([
    'https://r.openai.azure.com/openai/deployments/d?api-version=2024-10-21',
    'https://r.openai.azure.com/openai/deployments/d/?api-version=2024-10-21',
    'https://r.openai.azure.com/openai/v1',
  ])('takes %s for Azure', (baseURL) => {
    expect(poolOf({ provider: 'azure', baseURL }).baseURL).toBe(baseURL)
  })

  it('passes clients, loggers, providers and listeners on untouched', () => {
    const redis = new Redis({ lazyConnect: true })
    const logger = { debug() {}, info() {}, warn() {} }
    const inspect = () => {}
    const own = { ...openaiCompatible, name: 'own', baseURL: 'http://127.0.0.1:1' }
    const config = resolveConfig({ pools: { p: { provider: own } }, redis, logger, inspect })
    expect(config.redis).toBe(redis)
    expect(config.logger).toBe(logger)
    expect(config.inspect).toBe(inspect)
    // As Stately's inspectors have one.
    const observer = { next() {} }
    expect(resolveConfig({ pools: {}, inspect: observer }).inspect).toBe(observer)
    expect(config.pools.get('p')!.provider).toBe(own)
    const {
      countsCompletion,
      streamUsageOnRequest,
      classifyChunk,
      streamUsage,
      endsStream,
      limitObservations,
      ...least
    } = own
    expect(poolOf({ provider: least }).provider).toBe(least)
  })

  it.each(['redis://h', 'rediss://u:p%23@h:6380/1', 'REDIS://h:1', '/run/redis.sock'])(
    'takes %s for Redis',
    (redis) => {
      expect(resolveConfig({ pools: {}, redis }).redis).toBe(redis)
    },
  )
})

const RATES = "expected { limit, per }, a string such as '50/1m', or an array of these"
const LIMITS = 'expected an object with requests, tokens or concurrency'
const NAME = 'a name of up to 100 letters, digits or . _ : / -'
const PROVIDER =
  'expected one of glm, glm-intl, glm-coding, deepseek, openai, azure, anthropic, gemini, mistral, groq, moonshot, dashscope, openrouter, vllm, ollama, openai-compatible, or a Provider object'
const AZURE = 'expected https://{resource}.openai.azure.com/openai/deployments/{deployment}?api-version={version}'
const MODELS = 'models: expected an array of model names, each once, or an object of the provider’s own names by model'
const WINDOW = 'expected a window of at most 366d'
const GATE_KEYS =
  'expected one of redis, namespace, pools, limitSets, tenants, queue, retryBudget, cache, logger, inspect, shadow, monitoring, alerts, isolatedMaxMs'
const WHOLE = 'expected a whole number ≥ 1'
const REDIS = 'redis: expected a URL redis://[:password@]host:port/db, ioredis options or a client'

describe('complaints name the place, what was expected and what was got', () => {
  it.each<[unknown, string]>([
    [undefined, 'options: expected an object, got nothing'],
    [{}, 'pools: expected an object of pools by name, got nothing'],
    [{ pools: [] }, 'pools: expected an object of pools by name, got an empty array'],
    [{ pools: {}, pool: 1 }, `pool: unknown key (did you mean pools?), ${GATE_KEYS}`],
    [{ pools: { 'a|b': { provider: 'glm' } } }, `pools: expected ${NAME}, got "a|b"`],
    [{ pools: { '{a}': { provider: 'glm' } } }, `pools: expected ${NAME}, got "{a}"`],
    [{ pools: {}, limitSets: { 'a b': { concurrency: 1 } } }, `limitSets: expected ${NAME}, got "a b"`],
    [{ pools: {}, tenants: { '': {} } }, `tenants: expected ${NAME}, got ""`],
    [{ pools: JSON.parse('{"__proto__":{"provider":"glm"}}') }, 'pools.__proto__: unknown key'],
    [{ pools: { p: null } }, 'pools.p: expected an object that describes a pool, got null'],
    [{ pools: {}, namespace: 'a{b}' }, 'namespace: expected up to 100 letters, digits or . _ : / -, got "a{b}"'],
    [{ pools: {}, cache: { maxEntries: 0 } }, `cache.maxEntries: ${WHOLE}, got 0`],
    [{ pools: {}, cache: { store: 'disk' } }, "cache.store: expected 'memory' or 'redis', got \"disk\""],
    [
      { pools: {}, cache: { store: 'redis' } },
      'cache.store: expected \'memory\' where no redis is configured, got "redis"',
    ],
    [
      { pools: {}, retryBudget: true },
      'retryBudget: expected false, or an object with ratio or minPerSecond, got true',
    ],
    [{ pools: {}, retryBudget: { ratio: -1 } }, 'retryBudget.ratio: expected a number ≥ 0, got -1'],
    [{ pools: {}, shadow: 'yes' }, 'shadow: expected true or false, got "yes"'],
    [
      { pools: {}, isolatedMaxMs: -1 },
      "isolatedMaxMs: expected ms (a number) or a duration such as '30s', ≥ 0 ms, got -1",
    ],
    [
      { pools: {}, isolatedMaxMs: 'long' },
      'isolatedMaxMs: expected ms (a number) or a duration such as \'30s\', ≥ 0 ms, got "long"',
    ],
    [{ pools: {}, inspect: 1 }, 'inspect: expected true, false, a function or an observer, got 1'],
    [{ pools: {}, inspect: {} }, 'inspect: expected true, false, a function or an observer, got an empty object'],
    [
      { pools: {}, logger: { info() {} } },
      'logger: expected an object with the methods debug, info and warn, got an object',
    ],
    [{ pools: {}, queue: { maxQueued: 0 } }, `queue.maxQueued: ${WHOLE}, got 0`],
    [{ pools: {}, queue: { maxActive: Number.POSITIVE_INFINITY } }, `queue.maxActive: ${WHOLE}, got Infinity`],
    [{ pools: {}, limitSets: { s: {} } }, `limitSets.s: ${LIMITS}, got an empty object`],
    [{ pools: {}, tenants: { t: { weight: 0 } } }, 'tenants.t.weight: expected a number > 0, got 0'],
    [{ pools: {}, tenants: { t: { limits: {} } } }, `tenants.t.limits: ${LIMITS}, got an empty object`],
  ])('gate %#: %j', (options, message) => {
    expect(complaint(options)).toBe(message)
  })

  it.each<[object, string]>([
    [{ limits: { requests: { limit: 0, per: '1m' } } }, `limits.requests.limit: ${WHOLE}, got 0`],
    [{ limits: { requests: { limit: 1.5, per: '1m' } } }, `limits.requests.limit: ${WHOLE}, got 1.5`],
    [{ limits: { requests: { limit: '50', per: '1m' } } }, `limits.requests.limit: ${WHOLE}, got "50"`],
    [
      { limits: { requests: { limit: 50 } } },
      "limits.requests.per: expected ms (a number) or a duration such as '30s', ≥ 1 ms, got nothing",
    ],
    [
      { limits: { requests: { limit: 50, per: 0 } } },
      "limits.requests.per: expected ms (a number) or a duration such as '30s', ≥ 1 ms, got 0",
    ],
    [
      { limits: { requests: { limit: 50, per: '1m', burst: 5 } } },
      'limits.requests.burst: unknown key, expected one of limit, per',
    ],
    [
      { limits: { tokens: ['5/1m', { limit: 9, per: 'x' }] } },
      'limits.tokens[1].per: expected ms (a number) or a duration such as \'30s\', ≥ 1 ms, got "x"',
    ],
    [{ limits: { tokens: '50 a minute' } }, `limits.tokens: ${RATES}, got "50 a minute"`],
    [{ limits: { tokens: 50 } }, `limits.tokens: ${RATES}, got 50`],
    [{ limits: { tokens: ['5/1m', 7] } }, `limits.tokens[1]: ${RATES}, got 7`],
    [{ limits: { tokens: ['5/1m', '7/60s'] } }, 'limits.tokens: expected windows that differ, got an array'],
    [{ limits: { concurrency: 0 } }, `limits.concurrency: ${WHOLE}, got 0`],
    [{ limits: { rpm: 5 } }, 'limits.rpm: unknown key, expected one of requests, tokens, concurrency, also'],
    [
      { limits: { concurency: 5 } },
      expect.stringContaining('limits.concurency: unknown key (did you mean concurrency?),'),
    ],
    [{ limits: {} }, `limits: ${LIMITS}, or also; left out there are none, got an empty object`],
    [{ limits: { requests: [] } }, `limits: ${LIMITS}, or also; left out there are none, got an object`],
    [{ limits: { requests: { limit: 5, per: '9999d' } } }, `limits.requests.per: ${WINDOW}, got "9999d"`],
    [{ limits: { requests: '5/9999d' } }, `limits.requests: ${WINDOW}, got "5/9999d"`],
    [{ limits: { requests: ['5/1m', '9/367d'] } }, `limits.requests: ${WINDOW}, got an array`],
    [{ queue: { maxQueued: 1e9 } }, 'queue.maxQueued: expected a whole number ≤ 1000000, got 1000000000'],
    [{ limits: 5 }, `limits: ${LIMITS}, or also, got 5`],
    [{ limits: { also: ['s'] } }, 'limits.also[0]: expected the name of a limit set (there is none), got "s"'],
    [{ limits: { also: 's' } }, 'limits.also: expected an array of names of limitSets, each once, got "s"'],
    [{ fallback: ['p'] }, 'fallback[0]: expected the name of another pool (there is none), got "p"'],
    [{ provider: undefined }, `provider: ${PROVIDER}, got nothing`],
    [{ provider: 'glmm' }, `provider: ${PROVIDER}, got "glmm"`],
    [{ provider: { ...glm, usage: 1 } }, `provider: ${PROVIDER}, got an object`],
    [
      { provider: 'openai-compatible' },
      'baseURL: expected an http or https URL, because the provider has none of its own, got nothing',
    ],
    [{ provider: { ...glm, streamUsage: 1 } }, `provider: ${PROVIDER}, got an object`],
    [{ provider: { ...glm, countsCompletion: 'later' } }, `provider: ${PROVIDER}, got an object`],
    [{ provider: 'azure' }, `baseURL: ${AZURE}, because the provider has none of its own, got nothing`],
    ...['https://r.openai.azure.com', 'https://r.openai.azure.com/openai/deployments/d'].map(
      (baseURL): [object, string] => [{ provider: 'azure', baseURL }, `baseURL: ${AZURE}, got "${baseURL}"`],
    ),
    [
      { provider: 'azure', baseURL: 'https://r.openai.azure.com/openai/deployments/d?api-version=' },
      `baseURL: ${AZURE}, got "https://r.openai.azure.com/openai/deployments/d?…"`,
    ],
    [
      { baseURL: 'https://h/v1?api-version=1' },
      'baseURL: expected an http or https URL without a query, got "https://h/v1?…"',
    ],
    [{ baseURL: 'https://h/v1#x' }, 'baseURL: expected an http or https URL without a query, got "https://h/v1#x"'],
    [{ baseURL: 'localhost:8000' }, 'baseURL: expected an http or https URL without a query, got "localhost:8000"'],
    [{ models: [] }, 'models: expected an array of model names, each once, got an empty array'],
    [{ models: ['m', 'm'] }, 'models: expected an array of model names, each once, got an array'],
    [{ models: ['m', 1] }, 'models[1]: expected a non-empty string, got 1'],
    [{ models: {} }, `${MODELS}, got an empty object`],
    [{ models: 'm' }, `${MODELS}, got "m"`],
    [{ models: { m: 1 } }, 'models.m: expected a non-empty string, got 1'],
    [{ adaptive: 1 }, 'adaptive: expected true or false, got 1'],
    [{ guardMs: '50' }, 'guardMs: expected ms (a number) or a duration such as \'30s\', ≥ 0 ms, got "50"'],
    [{ guardMs: -1 }, "guardMs: expected ms (a number) or a duration such as '30s', ≥ 0 ms, got -1"],
    [{ slackMs: 9 }, "slackMs: expected ms (a number) or a duration such as '30s', ≥ 10 ms, got 9"],
    [{ maxPause: true }, "maxPause: expected ms (a number) or a duration such as '30s', ≥ 1 ms, or false, got true"],
    [{ timeout: 'never' }, 'timeout: expected ms (a number) or a duration such as \'30s\', ≥ 1 ms, got "never"'],
    [{ retry: { maxAttempts: 0 } }, `retry.maxAttempts: ${WHOLE}, got 0`],
    [{ retry: 3 }, 'retry: expected an object with maxAttempts, baseMs or capMs, got 3'],
    [{ degradedMessage: '' }, 'degradedMessage: expected a non-empty string, got an empty string'],
    [{ maxTokens: 5 }, expect.stringMatching(/^maxTokens: unknown key, expected one of provider, apiKey, /)],
  ])('pool %#: %j', (pool, message) => {
    expect(complaint(withPool(pool)).replace(/^pools\.p\./, '')).toEqual(message)
  })

  it('refuses a fallback that speaks another API', () => {
    const options = {
      pools: { p: { provider: 'glm', fallback: ['q', 'c'] }, q: { provider: deepseek }, c: { provider: 'anthropic' } },
    }
    expect(complaint(options)).toBe(
      `pools.p.fallback[1]: expected a pool that speaks openai's API as this one does, got "c"`,
    )
  })

  it('lists all problems, one a line, references included', () => {
    const options = {
      pools: {
        'glm-4.5': { provider: 'glm', limits: { requests: { limit: 0, per: 'x' } }, fallback: ['q', 'nowhere'] },
        q: { provider: 'x' },
      },
      bogus: 1,
    }
    expect(complaint(options).split('\n')).toEqual([
      `pools.glm-4.5.limits.requests.limit: ${WHOLE}, got 0`,
      'pools.glm-4.5.limits.requests.per: expected ms (a number) or a duration such as \'30s\', ≥ 1 ms, got "x"',
      expect.stringContaining('pools.q.provider: expected one of'),
      `bogus: unknown key, ${GATE_KEYS}`,
      'pools.glm-4.5.fallback[1]: expected the name of another pool (q), got "nowhere"',
    ])
  })
})

describe('secrets stay out of complaints', () => {
  it.each<[unknown, string]>([
    [
      withPool({ apiKey: 'SECRET with a space' }),
      'pools.p.apiKey: expected printable ASCII without spaces, got a string',
    ],
    [withPool({ apiKey: ['SECRET'] }), 'pools.p.apiKey: expected a string, got an array'],
    [withPool({ apiKey: '' }), 'pools.p.apiKey: expected printable ASCII without spaces, got an empty string'],
    [
      withPool({ api_key: 'SECRET' }),
      expect.stringMatching(/^pools.p.api_key: unknown key \(did you mean apiKey\?\), /),
    ],
    [{ pools: {}, redis: 'http://:SECRET@host' }, `${REDIS}, got a string`],
    [{ pools: {}, redis: 'redis://:SEC#RET@host' }, `${REDIS}, got a string`],
    [{ pools: {}, redis: 'host:6379' }, `${REDIS}, got a string`],
    [{ pools: {}, redis: '' }, `${REDIS}, got an empty string`],
    [
      withPool({ baseURL: 'ftp://user:SECRET@host/v1?key=SECRET' }),
      'pools.p.baseURL: expected an http or https URL without a query, got "ftp://…@host/v1?…"',
    ],
    [
      { pools: {}, namespace: 'redis://:SE@CRET@host:6379' },
      'namespace: expected up to 100 letters, digits or . _ : / -, got "redis://…@host:6379"',
    ],
  ])('%#', (options, message) => {
    expect(complaint(options)).toEqual(message)
  })
})

it('refuses pools of one model that can not stand in for each other', () => {
  const pools = { a: { provider: 'openrouter', models: ['claude'] }, b: { provider: 'anthropic', models: ['claude'] } }
  const expected = 'expected a name that pool a does not list, which speaks openai’s wire, got "claude"'
  expect(complaint({ pools })).toBe(`pools.b.models: ${expected}`)
})
