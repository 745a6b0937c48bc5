import { describe, expect, it } from 'vitest'
import { configFromEnv, resolveConfig } from '../../src/config.js'

describe('configFromEnv', () => {
  it("makes a gate of the user's own names", () => {
    const options = configFromEnv({
      REDIS_URL: 'redis://:password@host:6381/0',
      GLM_API_KEY: 'id.secret',
      GLM_API_MAX_CALLS_PER_MINUTE: '50',
      DEEPSEEK_API_KEY: 'sk-1',
    })
    expect(options).toEqual({
      redis: 'redis://:password@host:6381/0',
      pools: {
        glm: {
          provider: 'glm',
          apiKey: 'id.secret',
          models: ['glm-4-plus', 'glm-4-flash', 'glm-4.5', 'glm-4.6'],
          limits: { requests: { limit: 50, per: '1m' } },
        },
        deepseek: { provider: 'deepseek', apiKey: 'sk-1', models: ['deepseek-chat', 'deepseek-reasoner'] },
      },
    })
    expect(resolveConfig(options).pools.get('glm')!.limits.requests).toEqual([{ limit: 50, windowMs: 60_000 }])
  })

  it.each([
    ['GLM', 'glm'],
    ['DEEPSEEK', 'deepseek'],
    ['OPENAI', 'openai'],
    ['ANTHROPIC', 'anthropic'],
    ['GEMINI', 'gemini'],
    ['MISTRAL', 'mistral'],
    ['GROQ', 'groq'],
    ['MOONSHOT', 'moonshot'],
    ['DASHSCOPE', 'dashscope'],
    ['OPENROUTER', 'openrouter'],
  ])('knows every suffix of %s', (prefix, pool) => {
    const options = configFromEnv({
      HEADGATE_NAMESPACE: 'staging',
      [`${prefix}_API_KEY`]: 'key',
      [`${prefix}_MODELS`]: 'one, two,',
      [`${prefix}_BASE_URL`]: 'http://127.0.0.1:9/v1',
      [`${prefix}_API_MAX_CALLS_PER_MINUTE`]: ' 50 ',
      [`${prefix}_API_MAX_TOKENS_PER_MINUTE`]: '100000',
      [`${prefix}_API_MAX_CONCURRENCY`]: '5',
      [`${prefix}_DEGRADED_MESSAGE`]: '抱歉',
    })
    expect(options).toEqual({
      namespace: 'staging',
      pools: {
        [pool]: {
          provider: pool,
          apiKey: 'key',
          baseURL: 'http://127.0.0.1:9/v1',
          models: ['one', 'two'],
          limits: { requests: { limit: 50, per: '1m' }, tokens: { limit: 100_000, per: '1m' }, concurrency: 5 },
          degradedMessage: '抱歉',
        },
      },
    })
    expect(resolveConfig(options).pools.get(pool)!.baseURL).toBe('http://127.0.0.1:9/v1')
  })

  it('gives every pool models of its own', () => {
    const prefixes = 'GLM DEEPSEEK OPENAI ANTHROPIC GEMINI MISTRAL GROQ MOONSHOT DASHSCOPE OPENROUTER'.split(' ')
    const { pools } = resolveConfig(configFromEnv(Object.fromEntries(prefixes.map((name) => [`${name}_API_KEY`, 'k']))))
    expect([...pools.keys()]).toEqual(prefixes.map((name) => name.toLowerCase()))
    const models = [...pools.values()].flatMap((pool) => pool.models)
    expect(new Set(models).size).toBe(models.length)
  })

  it('makes a pool of each of several keys, all of the same models', () => {
    const options = configFromEnv({ GLM_API_KEY: ' k1, k2 ,', GLM_API_MAX_CALLS_PER_MINUTE: '50', GLM_MODELS: 'm' })
    const same = { provider: 'glm', models: ['m'], limits: { requests: { limit: 50, per: '1m' } } }
    expect(options.pools).toEqual({ glm: { ...same, apiKey: 'k1' }, 'glm-2': { ...same, apiKey: 'k2' } })
    expect(() => resolveConfig(options)).not.toThrow()
  })

  it('takes an empty variable for unset', () => {
    expect(configFromEnv({})).toEqual({ pools: {} })
    expect(configFromEnv({ REDIS_URL: '', GLM_API_KEY: ' ', HEADGATE_NAMESPACE: '', GLM_MODELS: 'x' })).toEqual({
      pools: {},
    })
    const { pools } = configFromEnv({ OPENAI_API_KEY: 'k', OPENAI_MODELS: ' , ', OPENAI_API_MAX_CONCURRENCY: '' })
    expect(pools.openai).toMatchObject({ models: ['gpt-4o-mini', 'gpt-4o', 'gpt-4.1-mini', 'gpt-4.1'] })
    expect(pools.openai).not.toHaveProperty('limits')
  })

  it('names every variable with a bad number', () => {
    const env = {
      GLM_API_KEY: 'k',
      GLM_API_MAX_CALLS_PER_MINUTE: 'fifty',
      GLM_API_MAX_TOKENS_PER_MINUTE: '0',
      DEEPSEEK_API_KEY: 'k',
      DEEPSEEK_API_MAX_CONCURRENCY: '-1',
    }
    const message = [
      'GLM_API_MAX_CALLS_PER_MINUTE: expected a whole number ≥ 1, got "fifty"',
      'GLM_API_MAX_TOKENS_PER_MINUTE: expected a whole number ≥ 1, got "0"',
      'DEEPSEEK_API_MAX_CONCURRENCY: expected a whole number ≥ 1, got "-1"',
    ].join('\n')
    expect(() => configFromEnv(env)).toThrowError(expect.objectContaining({ code: 'CONFIG_INVALID', message }))
  })
})
