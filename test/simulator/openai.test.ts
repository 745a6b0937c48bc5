import { describe, expect, test } from 'vitest'
import { goDuration } from '../../src/testing/simulator/profile.js'
import { type Answer, chat, HOUR_MS, hold, start } from './harness.js'

const remaining = ({ headers }: Answer) =>
  ['requests', 'tokens'].map((dimension) => headers.get(`x-ratelimit-remaining-${dimension}`))

describe('errors', () => {
  test.each([
    ['500', 500, 'server_error', 'server_error', /error while processing/],
    ['503', 503, 'overloaded', 'server_error', /overloaded/],
    ['insufficient_quota', 429, 'insufficient_quota', 'insufficient_quota', /exceeded your current quota/],
    ['context_length_exceeded', 400, 'context_length_exceeded', 'invalid_request_error', /maximum context length/],
  ])('%s', async (name, status, code, type, words) => {
    const simulator = await start('openai')
    simulator.failNext(name)
    const answer = await chat(simulator)
    expect(answer.status).toBe(status)
    expect(answer.body).toStrictEqual({ error: { message: expect.stringMatching(words), type, param: null, code } })
    expect(answer.headers.has('retry-after')).toBe(false)
    expect(simulator.log).toMatchObject([{ status, code }])
  })

  test('no others', async () => {
    const simulator = await start('openai')
    expect(() => simulator.failNext('1302')).toThrow(
      'OpenAI code: expected one of 500, 503, insufficient_quota, context_length_exceeded, got 1302',
    )
  })

  test('too many in flight: 503', async () => {
    const simulator = await start('openai', { concurrency: 1 })
    simulator.hangNext()
    await hold(simulator)
    expect(await chat(simulator)).toMatchObject({ status: 503, body: { error: { code: 'overloaded' } } })
  })
})

describe('limits', () => {
  test('are told in the headers of every answer, each dimension only where it is limited', async () => {
    const simulator = await start('openai', { requests: [{ limit: 5, windowMs: HOUR_MS }] })
    const { status, headers } = await chat(simulator)
    expect(status).toBe(200)
    const hints = [...headers].filter(([name]) => name.startsWith('x-ratelimit'))
    expect(Object.fromEntries(hints)).toEqual({
      'x-ratelimit-limit-requests': '5',
      'x-ratelimit-remaining-requests': '4',
      'x-ratelimit-reset-requests': expect.stringMatching(/^(1h0m0s|\d+m[\d.]+s)$/),
    })
    simulator.failNext('500')
    expect(remaining(await chat(simulator))).toEqual(['3', null])
  })

  test('no headers without limits', async () => {
    const { headers } = await chat(await start('openai'))
    expect([...headers.keys()].filter((name) => name.startsWith('x-ratelimit'))).toEqual([])
  })

  test('requests: says how much, how long, in prose and in headers, which agree', async () => {
    const simulator = await start('openai', { requests: [{ limit: 1, windowMs: HOUR_MS }] })
    expect((await chat(simulator)).status).toBe(200)
    const { status, headers, body } = await chat(simulator)
    expect(status).toBe(429)
    const waitMs = Number(headers.get('retry-after-ms'))
    expect(waitMs).toBeGreaterThan(0)
    expect(waitMs).toBeLessThanOrEqual(HOUR_MS)
    expect(headers.get('retry-after')).toBe(String(Math.ceil(waitMs / 1000)))
    const figures = 'Limit 1, Used 1, Requested 1'
    const message = `Rate limit reached on requests per min (RPM): ${figures}. Please try again in ${goDuration(waitMs)}.`
    expect(body).toStrictEqual({ error: { message, type: 'requests', param: null, code: 'rate_limit_exceeded' } })
    expect(simulator.report().errors429ByCode).toEqual({ rate_limit_exceeded: 1 })
  })

  test('tokens: the same, and refused requests count as requests', async () => {
    const requests = [{ limit: 3, windowMs: HOUR_MS }]
    const simulator = await start('openai', { requests, tokens: [{ limit: 10, windowMs: HOUR_MS }] })
    expect(remaining(await chat(simulator))).toEqual(['2', '4'])
    const refused = await chat(simulator)
    expect(remaining(refused)).toEqual(['1', '4'])
    const message = expect.stringContaining(
      'on tokens per min (TPM): Limit 10, Used 6, Requested 6. Please try again in ',
    )
    expect(refused.body.error).toMatchObject({ message, type: 'tokens', code: 'rate_limit_exceeded' })
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(remaining(await chat(simulator))).toEqual(['0', '4'])
    // The limit of requests is reached by refusals alone.
    const small = { messages: [], max_tokens: 1 }
    expect((await chat(simulator, { body: small })).body.error.type).toBe('requests')
  })

  test('Request too large: can never succeed, so no hint of when', async () => {
    const simulator = await start('openai', { tokens: [{ limit: 10, windowMs: HOUR_MS }] })
    const { status, headers, body } = await chat(simulator, { body: { max_tokens: 9 } })
    expect(status).toBe(429)
    expect(body.error).toMatchObject({ type: 'tokens', code: 'rate_limit_exceeded' })
    expect(body.error.message).toMatch(/^Request too large on tokens per min \(TPM\): Limit 10, Requested 11\./)
    expect(body.error.message).not.toContain('try again')
    expect(headers.has('retry-after')).toBe(false)
    expect(headers.has('retry-after-ms')).toBe(false)
  })
})

describe('goDuration', () => {
  test.each([
    [0, '0s'],
    [0.2, '1ms'],
    [120, '120ms'],
    [999, '999ms'],
    [999.5, '1s'],
    [1000, '1s'],
    [1500, '1.5s'],
    [59_999.5, '1m0s'],
    [360_000, '6m0s'],
    [60_001, '1m0.001s'],
    [3_600_000, '1h0m0s'],
    [3_723_500, '1h2m3.5s'],
  ])('of %d ms', (ms, text) => {
    expect(goDuration(ms)).toBe(text)
  })
})
