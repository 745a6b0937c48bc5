import { describe, expect, test } from 'vitest'
import { chat, expectNoHints, HOUR_MS, hold, post, start } from './harness.js'

const TOO_MANY = {
  error: {
    message: 'Too many requests, please slow down',
    type: 'rate_limit_error',
    param: null,
    code: 'rate_limit_error',
  },
}

describe('errors', () => {
  test.each([
    [400, 'Content Exists Risk', 'invalid_request_error', 'invalid_request_error'],
    [401, 'Authentication Fails (no such user)', 'authentication_error', 'invalid_request_error'],
    [402, 'Insufficient Balance', 'unknown_error', 'invalid_request_error'],
    [422, 'Failed to deserialize the JSON body into the target type', 'invalid_request_error', 'invalid_request_error'],
    [429, TOO_MANY.error.message, 'rate_limit_error', 'rate_limit_error'],
    [500, 'Internal Server Error', 'server_error', 'server_error'],
    [503, 'Service is too busy', 'service_unavailable_error', 'service_unavailable_error'],
  ])('%d %s', async (status, message, type, code) => {
    const simulator = await start('deepseek')
    simulator.failNext(String(status))
    const answer = await chat(simulator)
    expect(answer.status).toBe(status)
    expect(answer.body).toStrictEqual({ error: { message, type, param: null, code } })
    expectNoHints(answer.headers)
    expect(simulator.log).toMatchObject([{ status, code: String(status) }])
  })

  test('no others', async () => {
    const simulator = await start('deepseek')
    expect(() => simulator.failNext('1302')).toThrow(
      'DeepSeek code: expected one of 400, 401, 402, 422, 429, 500, 503, got 1302',
    )
  })
})

describe('limits', () => {
  test('in flight: 429 without a hint', async () => {
    const simulator = await start('deepseek', { concurrency: 1 })
    simulator.hangNext()
    const held = await hold(simulator)
    const refused = await chat(simulator)
    expect(refused).toMatchObject({ status: 429, body: TOO_MANY })
    expectNoHints(refused.headers)
    await held.hangUp()
    expect((await chat(simulator)).status).toBe(200)
  })

  test.each(['requests', 'tokens'])('%s in a window: 429 without a hint', async (dimension) => {
    const simulator = await start('deepseek', { [dimension]: [{ limit: 6, windowMs: HOUR_MS }] })
    const accepted = dimension === 'tokens' ? 1 : 6
    for (let i = 0; i < accepted; i++) expect((await chat(simulator)).status).toBe(200)
    const refused = await chat(simulator)
    expect(refused).toMatchObject({ status: 429, body: TOO_MANY })
    expectNoHints(refused.headers)
  })
})

describe('while an answer is due', () => {
  // Both timers run in the simulator: the shorter always fires first, however slow the machine.
  const options = { latencyMs: 40, keepAliveMs: 1 }

  test('a stream is kept alive with comments', async () => {
    const response = await post(await start('deepseek', options), { body: { stream: true } })
    const text = await response.text()
    expect(text).toMatch(/^(: keep-alive\n\n)+data: \{/)
    expect(text).toMatch(/data: \[DONE\]\n\n$/)
  })

  test('a whole answer is kept alive with empty lines before its JSON', async () => {
    const text = await (await post(await start('deepseek', options))).text()
    expect(text).toMatch(/^\n+\{/)
    expect(JSON.parse(text)).toMatchObject({ object: 'chat.completion', usage: { total_tokens: 6 } })
  })
})
