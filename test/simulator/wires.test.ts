import { describe, expect, test } from 'vitest'
import type { FailureClass } from '../../src/providers/provider.js'
import { PROFILE_NAMES, type ProfileName } from '../../src/testing/index.js'
import { HOUR_MS } from './harness.js'
import { followStream, providerOf, startFor } from './provider-calls.js'

const USAGE = { promptTokens: 2, completionTokens: 4, totalTokens: 6 }

describe.each(PROFILE_NAMES)('%s', (name) => {
  test('a whole answer, and its usage', async () => {
    const { call, provider, simulator } = await startFor(name)
    const { status, body, failure } = await call({ headers: { 'x-headgate-request-id': 'r-1' } })
    expect([status, failure]).toEqual([200, undefined])
    expect(provider.usage(body)).toEqual(USAGE)
    expect(simulator.log).toMatchObject([{ status: 200, code: null, id: 'r-1', promptTokens: 2 }])
  })

  test('a stream, and its usage, where need be asked for', async () => {
    const { call, provider } = await startFor(name)
    const options = provider.streamUsageOnRequest ? { stream_options: { include_usage: true } } : {}
    const { status, headers, text } = await call({ body: { stream: true, max_tokens: 20, ...options } })
    expect([status, headers['content-type']]).toEqual([200, 'text/event-stream; charset=utf-8'])
    const { usage, failures, payloads } = followStream(provider, text)
    expect(failures).toEqual([])
    expect(usage).toEqual({ promptTokens: 2, completionTokens: 20, totalTokens: 22 })
    expect(JSON.stringify(payloads).match(/word/g)).toHaveLength(20)
  })

  test('usage unasked for', async () => {
    const { call, provider } = await startFor(name)
    const { usage } = followStream(provider, (await call({ body: { stream: true } })).text)
    expect(usage).toEqual(provider.streamUsageOnRequest ? undefined : USAGE)
  })

  test('no key, no JSON, no request and no such path are refused as they are', async () => {
    const { call, provider, simulator } = await startFor(name)
    const isOpen = name === 'vllm' || name === 'ollama'
    const keyless = Object.fromEntries(Object.keys(provider.authHeaders('k')).map((header) => [header, '']))
    expect((await call({ headers: keyless })).failure?.class).toBe(isOpen ? undefined : 'AUTH')
    for (const body of ['{', '{}', '{"model":"m","messages":[],"max_tokens":0}']) {
      expect((await call({ body })).failure?.class).toBe('BAD')
    }
    expect((await call({ path: '/v7/nowhere' })).failure).toMatchObject({
      class: 'BAD',
      status: name === 'glm' ? 400 : 404,
    })
    expect(simulator.log).toHaveLength(4)
  })
})

/** What each answers when it is full, and whether it says for how long. */
const FULL: readonly (readonly [ProfileName, FailureClass, FailureClass, FailureClass, hints: boolean])[] = [
  ['glm', 'CONC', 'CONC', 'RLR', false],
  ['deepseek', 'CONC', 'CONC', 'CONC', false],
  ['openai', 'OVL', 'RLR', 'RLT', true],
  ['azure', 'OVL', 'RLR', 'RLT', true],
  ['anthropic', 'CONC', 'RLR', 'RLT', true],
  ['gemini', 'OVL', 'RLR', 'RLT', true],
  ['mistral', 'OVL', 'RLR', 'RLR', false],
  ['groq', 'OVL', 'RLR', 'RLT', true],
  ['moonshot', 'CONC', 'RLR', 'RLT', true],
  ['dashscope', 'CONC', 'RLR', 'RLT', false],
  ['openrouter', 'OVL', 'RLR', 'RLR', true],
  ['vllm', 'OVL', 'OVL', 'OVL', false],
  ['ollama', 'OVL', 'OVL', 'OVL', false],
]

describe('when it is full', () => {
  test('is said for every profile', () => {
    expect(FULL.map(([name]) => name)).toEqual(PROFILE_NAMES)
  })

  test.each(FULL)(
    '%s: %s in flight, %s for requests, %s for tokens',
    async (name, inFlight, requests, tokens, hints) => {
      const idle = await startFor(name, { concurrency: 0 })
      expect((await idle.call()).failure).toMatchObject({ class: inFlight, retryable: true })

      const rpm = await startFor(name, { requests: [{ limit: 1, windowMs: HOUR_MS, kind: 'sliding' }] })
      expect((await rpm.call()).failure).toBeUndefined()
      const refused = (await rpm.call()).failure
      expect(refused).toMatchObject({ class: requests, retryable: true })
      expect(refused?.retryAfterMs === undefined).toBe(!hints)
      if (hints)
        expect(refused!.retryAfterMs! > HOUR_MS - 60_000 && refused!.retryAfterMs! <= HOUR_MS + 1_000).toBe(true)

      const tpm = await startFor(name, { tokens: [{ limit: 6, windowMs: HOUR_MS, kind: 'sliding' }] })
      for (let i = 0; i < 3; i++) await tpm.call()
      expect((await tpm.call()).failure).toMatchObject({ class: tokens, retryable: true })
    },
  )
})

/** Every error a test can ask for, but GLM's, which have a test of their own. */
const ERRORS: readonly (readonly [ProfileName, Record<string, FailureClass>])[] = [
  ['deepseek', { 400: 'FILTER', 401: 'AUTH', 402: 'BAL', 422: 'BAD', 429: 'CONC', 500: 'SRV', 503: 'OVL' }],
  ['openai', { 500: 'SRV', 503: 'OVL', insufficient_quota: 'BAL', context_length_exceeded: 'CTX' }],
  ['azure', { 500: 'SRV', 503: 'OVL', content_filter: 'FILTER', DeploymentNotFound: 'BAD' }],
  [
    'anthropic',
    {
      api_error: 'SRV',
      overloaded_error: 'OVL',
      rate_limit_error: 'RLR',
      billing_error: 'BAL',
      request_too_large: 'BAD',
      enforced_spend_limit_reached: 'QUOTA',
      prompt_too_long: 'CTX',
    },
  ],
  [
    'gemini',
    {
      400: 'BAD',
      403: 'AUTH',
      500: 'SRV',
      503: 'OVL',
      PerMinute: 'RLR',
      PerDay: 'QUOTA',
      TokensPerMinute: 'RLT',
    },
  ],
  ['mistral', { 402: 'BAL', 500: 'SRV', 3505: 'OVL' }],
  ['groq', { 413: 'BAD', 498: 'OVL', 500: 'SRV', 503: 'OVL' }],
  [
    'moonshot',
    {
      500: 'SRV',
      engine_overloaded_error: 'OVL',
      exceeded_current_quota_error: 'BAL',
      content_filter: 'FILTER',
      TPD: 'QUOTA',
    },
  ],
  [
    'dashscope',
    {
      500: 'SRV',
      503: 'OVL',
      limit_burst_rate: 'RLR',
      'Throttling.Concurrency': 'CONC',
      Arrearage: 'BAL',
      data_inspection_failed: 'FILTER',
    },
  ],
  [
    'openrouter',
    {
      402: 'BAL',
      403: 'FILTER',
      408: 'TMO',
      429: 'RLR',
      500: 'SRV',
      502: 'OVL',
      503: 'OVL',
      'free-models-per-day': 'QUOTA',
    },
  ],
  ['vllm', { 400: 'CTX', 500: 'SRV', 503: 'OVL' }],
  ['ollama', { 404: 'BAD', 500: 'SRV', 503: 'OVL' }],
]
const rows = ERRORS.flatMap(([name, codes]) =>
  Object.entries(codes).map(([code, expected]) => ({ name, code, expected })),
)

describe('errors on demand', () => {
  test.each(rows)('$name $code is $expected', async ({ name, code, expected }) => {
    const { call, simulator } = await startFor(name)
    simulator.failNext(code)
    expect((await call()).failure?.class).toBe(expected)
    expect(simulator.report().errorsByCode).toEqual({ [simulator.log[0]!.code!]: 1 })
    expect((await call()).failure).toBeUndefined()
  })

  test.each(ERRORS)('%s has no others', async (name, codes) => {
    const { simulator } = await startFor(name)
    expect(() => simulator.failNext('1302')).toThrow(/code: expected one of .*, got 1302$/)
    expect(() => simulator.failNext('late-1302')).toThrow(RangeError)
    for (const code of Object.keys(codes)) expect(() => simulator.failNext(code, 0)).not.toThrow()
  })
})

/** What has its meaning in the body alone: the status is 200 by then. */
const LATE: readonly (readonly [ProfileName, string, FailureClass])[] = [
  ['glm', '1305', 'OVL'],
  ['glm', '1113', 'BAL'],
  ['openai', '500', 'SRV'],
  ['openai', 'insufficient_quota', 'BAL'],
  ['azure', 'content_filter', 'FILTER'],
  ['anthropic', 'overloaded_error', 'OVL'],
  ['anthropic', 'enforced_spend_limit_reached', 'QUOTA'],
  ['gemini', '503', 'OVL'],
  ['gemini', 'PerDay', 'QUOTA'],
  ['mistral', '3505', 'OVL'],
  ['groq', '498', 'OVL'],
  ['moonshot', 'engine_overloaded_error', 'OVL'],
  ['dashscope', 'Throttling.Concurrency', 'CONC'],
  ['openrouter', '402', 'BAL'],
  ['openrouter', '429', 'RLR'],
  ['openrouter', '502', 'OVL'],
  ['vllm', '500', 'SRV'],
  ['ollama', '500', 'SRV'],
]

describe('errors after a 200', () => {
  test.each(LATE)('%s %s is %s, in a body and in the middle of a stream', async (name, code, expected) => {
    const { call, simulator } = await startFor(name)
    simulator.failNext(`late-${code}`, 2)
    const whole = await call()
    expect([whole.status, whole.failure?.class]).toEqual([200, expected])
    const { status, text } = await call({ body: { stream: true, max_tokens: 40 } })
    const { payloads, failures } = followStream(providerOf(name), text)
    expect([status, failures.map((failure) => failure.class)]).toEqual([200, [expected]])
    // Some of the answer came before it, and nothing after.
    expect(JSON.stringify(payloads)).toContain('word')
    expect(providerOf(name).classifyChunk(payloads.at(-1))).toBeDefined()
    expect(simulator.log).toMatchObject([
      { status: 200, code: simulator.log[0]!.code },
      { status: 200, code: simulator.log[0]!.code },
    ])
    expect(simulator.report()).toMatchObject({ accepted: 0 })
  })

  test('also by their share', async () => {
    const { call } = await startFor('openrouter', { errors: [{ share: 1, code: 'late-502' }] })
    expect((await call()).failure).toMatchObject({ class: 'OVL', status: 502 })
  })
})
