import { once } from 'node:events'
import http from 'node:http'
import { performance } from 'node:perf_hooks'
import { describe, expect, test, vi } from 'vitest'
import type { Simulator, SimulatorLimits } from '../../src/testing/index.js'
import { Gatekeeper } from '../../src/testing/simulator/gatekeeper.js'
import { PROFILES } from '../../src/testing/simulator/wire.js'
import { answerOf, BODY, chat, HOUR_MS, hold, start } from './harness.js'

const STEPS = { values: [5, 2, 1], everyMs: HOUR_MS }

describe('Gatekeeper', () => {
  const keep = (profile: 'glm' | 'openai', limits: SimulatorLimits) => new Gatekeeper(PROFILES[profile], limits)

  test('the ceiling moves step by step from when it was set; the last value is for good', () => {
    const keeper = keep('glm', { concurrency: 9, ceiling: STEPS })
    const after = performance.now()
    expect([0, 1, 2, 3, 100].map((steps) => keeper.concurrency(after + steps * HOUR_MS))).toEqual([5, 2, 1, 1, 1])
    expect(keep('glm', { concurrency: 9 }).concurrency(after)).toBe(9)
    expect(keep('glm', { concurrency: 9, ceiling: { values: [], everyMs: 1 } }).concurrency(after)).toBe(9)
    expect(keep('glm', {}).concurrency(after)).toBe(Number.POSITIVE_INFINITY)
  })

  test('a ceiling set later begins with its first value', () => {
    const clock = vi.spyOn(performance, 'now')
    try {
      clock.mockReturnValue(1000)
      const keeper = keep('glm', { concurrency: 9 })
      clock.mockReturnValue(50_000)
      keeper.set({ ceiling: { values: [4, 3], everyMs: 1000 } })
      expect([50_000, 50_999, 51_000, 99_000].map((nowMs) => keeper.concurrency(nowMs))).toEqual([4, 4, 3, 3])
    } finally {
      clock.mockRestore()
    }
  })

  test('what is refused for concurrency is the newest, also while the older is still being read', () => {
    const keeper = keep('glm', { concurrency: 1 })
    keeper.inFlight = 2
    expect(keeper.admit(0, 1, 1)).toBeUndefined()
    expect(keeper.admit(0, 1, 2)).toMatchObject({ status: 429, code: '1302' })
    // The older one left before the newer was read.
    keeper.inFlight = 1
    expect(keeper.admit(0, 1, 2)).toBeUndefined()
  })

  test.each([
    ['glm', 0],
    ['openai', 600],
  ] as const)('%s: a refused request puts the next one off by %d ms', (profile, delayMs) => {
    const keeper = keep(profile, { requests: [{ limit: 1, windowMs: 1000 }] })
    expect(keeper.admit(0, 1, 1)).toBeUndefined()
    expect(keeper.admit(600, 1, 1)).toMatchObject({ status: 429 })
    if (delayMs > 0) expect(keeper.admit(1000 + delayMs - 1, 1, 1)).toMatchObject({ status: 429 })
    const free = keep(profile, { requests: [{ limit: 1, windowMs: 1000 }] })
    free.admit(0, 1, 1)
    free.admit(600, 1, 1)
    expect(free.admit(1000 + delayMs, 1, 1)).toBeUndefined()
  })

  test('what is refused is charged to no limit at all (GLM)', () => {
    const keeper = keep('glm', { requests: [{ limit: 2, windowMs: 1000 }], tokens: [{ limit: 10, windowMs: 1000 }] })
    expect(keeper.admit(0, 8, 1)).toBeUndefined()
    for (let i = 0; i < 5; i++) expect(keeper.admit(1, 8, 1)).toMatchObject({ code: '1303' })
    expect(keeper.admit(2, 2, 1)).toBeUndefined()
    expect(keeper.admit(3, 1, 1)).toMatchObject({ code: '1302' })
  })

  test('the headers hold exact figures, of the first limit of each dimension', () => {
    const keeper = keep('openai', {
      requests: [
        { limit: 60, windowMs: 60_000, kind: 'token-bucket' },
        { limit: 1000, windowMs: HOUR_MS },
      ],
      tokens: [{ limit: 1000, windowMs: 60_000 }],
    })
    expect(keeper.admit(0, 100, 1)).toBeUndefined()
    expect(keeper.admit(0, 200, 1)).toBeUndefined()
    expect(keeper.headers(500)).toEqual({
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '58',
      'x-ratelimit-reset-requests': '1.5s',
      'x-ratelimit-limit-tokens': '1000',
      'x-ratelimit-remaining-tokens': '700',
      'x-ratelimit-reset-tokens': '59.5s',
    })
    expect(keeper.headers(70_000)).toMatchObject({
      'x-ratelimit-remaining-requests': '60',
      'x-ratelimit-reset-requests': '0s',
    })
    expect(keeper.rates.map(({ dimension, limit }) => [dimension, limit])).toEqual([
      ['requests', 60],
      ['requests', 1000],
      ['tokens', 1000],
    ])
  })
})

describe('limits that move', () => {
  const hour = (limit: number) => [{ limit, windowMs: HOUR_MS }]

  test('setLimits: the other dimension goes on as it was', async () => {
    const simulator = await start('glm', { requests: hour(2) })
    expect((await chat(simulator)).status).toBe(200)
    simulator.setLimits({ tokens: hour(6) })
    expect((await chat(simulator)).status).toBe(200)
    expect((await chat(simulator)).body.error.code).toBe('1302')
    simulator.setLimits({ requests: hour(9) })
    expect((await chat(simulator)).body.error.code).toBe('1303')
    simulator.setLimits({ tokens: [] })
    expect((await chat(simulator)).status).toBe(200)
    expect(simulator.report().windows).toMatchObject([{ limit: 'requests', allowed: 9, worst: 5 }])
  })

  test('the first value of a ceiling is the concurrency, whatever else was set', async () => {
    const simulator = await start('glm', { concurrency: 50, ceiling: { values: [1, 9], everyMs: HOUR_MS } })
    simulator.hangNext()
    await hold(simulator)
    expect((await chat(simulator)).body.error.code).toBe('1302')
  })

  test('over HTTP, without a word to those who call', async () => {
    const simulator = await start('glm')
    simulator.hangNext()
    await hold(simulator)
    expect((await chat(simulator)).status).toBe(200)
    expect(await tell(simulator, '{"concurrency":1}')).toMatchObject({ status: 200, body: { ok: true } })
    expect((await chat(simulator)).body.error.code).toBe('1302')
    for (const garbage of ['{', 'null', '7']) {
      expect(await tell(simulator, garbage)).toMatchObject({ status: 400, body: { ok: false } })
    }
    expect((await chat(simulator)).body.error.code).toBe('1302')
  })

  async function tell(simulator: Simulator, body: string) {
    return answerOf(await fetch(`${simulator.url}/__sim/limits`, { method: 'POST', body }))
  }
})

describe('at the same time', () => {
  test('one of two is let in, though the headers of both came before either body', async () => {
    const simulator = await start('glm', { concurrency: 1 })
    const open = async (count: number) => {
      const headers = { authorization: 'Bearer k' }
      const request = http.request(`${simulator.url}/v1/chat/completions`, { method: 'POST', headers })
      request.flushHeaders()
      await vi.waitFor(() => expect(simulator.log).toHaveLength(count), { timeout: 30_000, interval: 1 })
      return request
    }
    const finish = async (request: http.ClientRequest) => {
      const response = once(request, 'response')
      request.end(JSON.stringify(BODY))
      const [answer] = (await response) as [http.IncomingMessage]
      return answer.resume().statusCode
    }
    const first = await open(1)
    const second = await open(2)
    expect(await finish(second)).toBe(429)
    expect(await finish(first)).toBe(200)
    expect(simulator.report()).toMatchObject({ accepted: 1, maxInFlight: 2 })
  })

  test('of many, as many are let in as there is room for', async () => {
    const simulator = await start('glm', { concurrency: 3 })
    simulator.hangNext(3)
    for (let i = 0; i < 3; i++) await hold(simulator)
    const statuses = await Promise.all(Array.from({ length: 10 }, async () => (await chat(simulator)).status))
    expect(statuses).toEqual(Array(10).fill(429))
    expect(simulator.log.filter(({ status }) => status === 0)).toHaveLength(3)
  })
})
