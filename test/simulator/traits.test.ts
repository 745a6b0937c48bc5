// What one provider does its own way.
import { describe, expect, test } from 'vitest'
import type { ProfileName, SimulatorLimits } from '../../src/testing/index.js'
import { Gatekeeper } from '../../src/testing/simulator/gatekeeper.js'
import { PROFILES } from '../../src/testing/simulator/wire.js'
import { HOUR_MS, post } from './harness.js'
import { followStream, startFor } from './provider-calls.js'

const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
const keep = (name: ProfileName, limits: SimulatorLimits) => new Gatekeeper(PROFILES[name], limits)

describe('limits as each provider holds them', () => {
  test('Azure: by the fixed minute', () => {
    const keeper = keep('azure', { requests: [{ limit: 2, windowMs: MINUTE_MS }] })
    const admits = (nowMs: number) => keeper.admit(nowMs, 1, 1) === undefined
    expect([59_998, 59_999, 59_999, 60_000, 60_001, 60_002].map(admits)).toEqual([true, true, false, true, true, false])
  })

  test('Anthropic: a bucket that refills steadily, and the answer is charged when it was written', () => {
    const keeper = keep('anthropic', { tokens: [{ limit: 600, windowMs: MINUTE_MS }] })
    expect(keeper.admit(0, 100, 1)).toBeUndefined()
    keeper.produce(0, 500)
    expect(keeper.admit(0, 10, 1)).toMatchObject({ status: 429, headers: { 'retry-after': '1' } })
    expect(keeper.admit(1_000, 10, 1)).toBeUndefined()
  })

  test('Anthropic over HTTP: only the prompt on arrival, then the answer', async () => {
    const { call, simulator } = await startFor('anthropic', { tokens: [{ limit: 1_000, windowMs: HOUR_MS }] })
    const { headers } = await call({ body: { max_tokens: 900 } })
    expect(headers['anthropic-ratelimit-tokens-remaining']).toBe('998')
    expect((await call()).headers['anthropic-ratelimit-tokens-remaining']).toBe('96')
    expect(simulator.log.map(({ tokens }) => tokens)).toEqual([2, 2])
  })

  test('Gemini: only what was asked counts', async () => {
    const { call, simulator } = await startFor('gemini', { tokens: [{ limit: 5, windowMs: HOUR_MS }] })
    const classes: (string | undefined)[] = []
    for (let i = 0; i < 3; i++) classes.push((await call({ body: { max_tokens: 500 } })).failure?.class)
    expect(classes).toEqual([undefined, undefined, 'RLT'])
    expect(simulator.log.map(({ tokens }) => tokens)).toEqual([2, 2, 2])
  })

  test('Gemini: a limit of a day is refused with the delay of a minute', async () => {
    const { call } = await startFor('gemini', { requests: [{ limit: 1, windowMs: DAY_MS }] })
    await call()
    const { text, failure } = await call()
    expect(text).toContain('"retryDelay":"42s"')
    expect(failure?.class).toBe('QUOTA')
  })

  test('DashScope: a share in every second', () => {
    const keeper = keep('dashscope', { requests: [{ limit: 120, windowMs: MINUTE_MS }] })
    const admits = (nowMs: number) => keeper.admit(nowMs, 1, 1) === undefined
    expect([0, 1, 2, 999, 1_000, 1_001, 1_002].map(admits)).toEqual([true, true, false, false, true, true, false])
  })

  test('OpenAI: what is refused counts; nowhere else', () => {
    const names = Object.values(PROFILES).filter(({ refusedCount }) => refusedCount)
    expect(names.map(({ name }) => name)).toEqual(['openai'])
  })

  test('OpenAI and Groq: too large is too large for ever', async () => {
    for (const name of ['openai', 'groq'] as const) {
      const { call } = await startFor(name, { tokens: [{ limit: 3, windowMs: HOUR_MS }] })
      const { failure } = await call()
      expect(failure).toMatchObject({ class: 'BAD', retryable: false, status: name === 'groq' ? 413 : 429 })
      expect(failure).not.toHaveProperty('retryAfterMs')
    }
  })
})

describe('limit headers, as the profile of the provider reads them', () => {
  const limits = {
    requests: [
      { limit: 60, windowMs: MINUTE_MS, kind: 'sliding' },
      { limit: 5_000, windowMs: DAY_MS, kind: 'sliding' },
    ],
    tokens: [{ limit: 1_000, windowMs: MINUTE_MS, kind: 'sliding' }],
  } as const
  const minute = { windowMs: MINUTE_MS, resetMs: expect.any(Number) }
  const requests = { dimension: 'requests', limit: 60, remaining: 59, ...minute }
  const tokens = { dimension: 'tokens', limit: 1_000, remaining: 994, ...minute }

  test.each<[ProfileName, unknown[]]>([
    ['openai', [requests, tokens]],
    ['groq', [{ ...requests, limit: 5_000, remaining: 4_999, windowMs: DAY_MS }, tokens]],
    [
      'azure',
      [
        { dimension: 'requests', windowMs: MINUTE_MS, remaining: 59 },
        { dimension: 'tokens', windowMs: MINUTE_MS, remaining: 994 },
      ],
    ],
    ['anthropic', [requests, { ...tokens, remaining: 998 }, { ...tokens, remaining: 998, part: 'prompt' }]],
    ['mistral', [{ dimension: 'tokens', windowMs: MINUTE_MS, limit: 1_000, remaining: 994 }]],
  ])('%s', async (name, expected) => {
    const { call, provider, simulator } = await startFor(name, limits)
    const { headers } = await call()
    const observed = provider.limitObservations?.({ headers }) ?? []
    expect(observed).toEqual(expected)
    for (const { resetMs, windowMs } of observed) expect(resetMs ?? 0).toBeLessThanOrEqual(windowMs! + 1)
    simulator.setLimits({ concurrency: 0 })
    expect(provider.limitObservations?.({ headers: (await call()).headers })).toHaveLength(expected.length)
  })

  test.each(['glm', 'deepseek', 'gemini', 'moonshot', 'dashscope', 'openrouter', 'vllm', 'ollama'] as const)(
    '%s sends none',
    async (name) => {
      const { headers } = await (await startFor(name, limits)).call()
      expect(Object.keys(headers).filter((header) => /ratelimit|retry/.test(header))).toEqual([])
    },
  )
})

describe('paths and requests', () => {
  test.each<[ProfileName, string, number]>([
    ['azure', '/openai/deployments/any/chat/completions?api-version=1', 200],
    ['azure', '/openai/deployments/any/chat/completions', 404],
    ['azure', '/openai/v1/chat/completions', 200],
    ['azure', '/v1/chat/completions', 404],
    ['anthropic', '/v1/messages', 200],
    ['anthropic', '/v1/chat/completions', 404],
    ['gemini', '/v1beta/openai/chat/completions', 200],
    ['groq', '/openai/v1/chat/completions', 200],
    ['openrouter', '/api/v1/chat/completions', 200],
    ['dashscope', '/compatible-mode/v1/chat/completions', 200],
  ])('%s at %s: %d', async (name, path, status) => {
    expect((await (await startFor(name)).call({ path })).status).toBe(status)
  })

  test('Anthropic asks for a version, and for max_tokens', async () => {
    const { call } = await startFor('anthropic')
    expect((await call({ headers: { 'anthropic-version': '' } })).status).toBe(401)
    expect((await call({ body: { max_tokens: undefined } })).failure?.class).toBe('BAD')
    expect((await call({ body: { system: '你好' } })).body).toMatchObject({ usage: { input_tokens: 4 } })
  })

  test("a server of one's own asks for no key", async () => {
    for (const name of ['vllm', 'ollama'] as const) {
      const { simulator } = await startFor(name)
      expect((await post(simulator, { headers: { authorization: '' } })).status).toBe(200)
    }
  })
})

describe('streams', () => {
  test("Anthropic's events, in their order", async () => {
    const { call } = await startFor('anthropic')
    const { text } = await call({ body: { stream: true } })
    expect([...text.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name)).toEqual([
      'message_start',
      'content_block_start',
      'ping',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ])
    expect(text).not.toContain('[DONE]')
  })

  test('Gemini counts in every chunk, Groq in x_groq of the last', async () => {
    const body = { stream: true, max_tokens: 20 }
    const gemini = await startFor('gemini')
    const counted = followStream(gemini.provider, (await gemini.call({ body })).text)
      .payloads.map((chunk) => gemini.provider.streamUsage(chunk)?.completionTokens)
      .filter((count) => count !== undefined)
    expect(counted).toEqual([0, 8, 16, 20, 20])
    const groq = await startFor('groq')
    const { payloads } = followStream(groq.provider, (await groq.call({ body })).text)
    expect(payloads.filter((chunk) => Object(chunk).x_groq?.usage)).toHaveLength(1)
  })

  test('OpenRouter begins with a comment, and fails in a chunk that has choices too', async () => {
    const { call, provider, simulator } = await startFor('openrouter', { latencyMs: 40, keepAliveMs: 1 })
    const { text } = await call({ body: { stream: true } })
    expect(text).toMatch(/^(: OPENROUTER PROCESSING\n\n){2,}data: \{/)
    simulator.failNext('late-502')
    const failed = await call({ body: { stream: true } })
    expect(followStream(provider, failed.text).payloads.at(-1)).toMatchObject({
      error: { code: 502 },
      choices: [{ finish_reason: 'error' }],
    })
  })

  test('an error of Anthropic in a stream is an event of that name', async () => {
    const { call, simulator } = await startFor('anthropic')
    simulator.failNext('late-overloaded_error')
    expect((await call({ body: { stream: true } })).text).toMatch(/event: error\ndata: \{"type":"error".*\}\n\n$/)
  })
})
