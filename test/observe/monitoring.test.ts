import { describe, expect, onTestFinished, test } from 'vitest'
import type { PoolOptions } from '../../src/config.js'
import { createHeadgate, type GateOptions, type Headgate } from '../../src/index.js'
import { type Simulator, startSimulator } from '../../src/testing/index.js'
import { problemsOf } from './schema.js'

const MESSAGES = [{ role: 'user', content: 'hello there' }]
/** 4 prompt tokens by the simulator's count, and as many completion tokens as asked for. */
const CALL = { pool: 'glm', messages: MESSAGES, maxTokens: 3 }

interface Watched {
  readonly gate: Headgate
  readonly provider: Simulator
}

async function watched(pool: Partial<PoolOptions> = {}, more: Partial<GateOptions> = {}): Promise<Watched> {
  const provider = await startSimulator({ profile: 'glm' })
  const { baseURL } = provider
  const glm = { provider: 'glm', apiKey: 'any', baseURL, guardMs: 5, retry: { baseMs: 1, capMs: 2 }, ...pool }
  const gate = createHeadgate({ pools: { glm }, ...more })
  onTestFinished(async () => {
    await gate.close()
    await provider.close()
  })
  return { gate, provider }
}

describe('what a gate without Redis tells of itself', () => {
  test('counts by outcome, refusals by code, times, tokens, cost, tenants and limits, as the schema has it', async () => {
    const prices = { currency: 'CNY', promptPer1M: 50, completionPer1M: 100 }
    const limits = { requests: '50/1m', concurrency: 5 }
    const { gate, provider } = await watched({ prices, limits, degradedMessage: 'later' })
    provider.failNext('1302')
    await gate.complete(CALL)
    await gate.complete({ ...CALL, tenant: 'web' })
    provider.failNext('1113')
    const degraded = await (await gate.spawn(CALL)).outcome
    expect(degraded).toMatchObject({ status: 'degraded', via: 'message' })
    const controller = new AbortController()
    const cancelled = await gate.spawn({ ...CALL, deadline: '1h', signal: controller.signal })
    controller.abort()
    await cancelled.outcome

    const stats = await gate.monitoring()
    expect(problemsOf('stats', stats)).toEqual([])
    expect(stats).toMatchObject({ namespace: 'headgate', store: 'memory', scope: 'process', state: 'synced' })
    expect(stats.isolated).toBe(false)
    expect(stats.processes).toMatchObject([{ pid: process.pid, seenMsAgo: 0, inFlight: 0, queued: 0 }])
    expect(stats.totals).toEqual({ completed: 2, degraded: 1, failed: 0, cancelled: 1, expired: 0, successRate: 2 / 3 })
    const { glm } = stats.pools
    expect(glm).toMatchObject({
      completed: 2,
      degraded: 1,
      cancelled: 1,
      successRate: 2 / 3,
      provider429: { '1302': 1, '1113': 1 },
      provider429PerHour: { '1302': 1, '1113': 1 },
      atGate: 0,
      active: 0,
      paused: false,
    })
    expect(glm!.coolDownMs, 'an empty balance pauses the pool').toBeGreaterThan(0)
    expect(glm!.tokens.used).toBe(14)
    expect(glm!.tokens.estimated - glm!.tokens.refunded).toBeLessThanOrEqual(14)
    expect(glm!.cost).toEqual({ currency: 'CNY', amount: (8 * 50 + 6 * 100) / 1e6 })
    expect(glm!.tenants).toMatchObject({ web: { completed: 1, tokensUsed: 7, share: 0.5 }, default: { share: 0.5 } })
    expect(glm!.latencyMs.p50).toBeGreaterThan(0)
    expect(glm!.latencyMs.p99).toBeGreaterThanOrEqual(glm!.waitMs.p50!)
    expect(glm!.limits).toMatchObject([
      { id: 'pool:glm:requests:60000', kind: 'requests', windowMs: 60_000, limit: 50, used: 4 },
      { id: 'pool:glm:concurrency', kind: 'concurrency', limit: 5, used: 0 },
    ])
  })

  test('every minute of the window, and nothing where nothing was', async () => {
    const { gate, provider } = await watched()
    expect((await gate.monitoring()).pools.glm).toMatchObject({
      completed: 0,
      successRate: null,
      waitMs: { p50: null },
    })
    provider.failNext('1302')
    await gate.complete(CALL)
    const stats = await gate.rateLimitStats({ windowMinutes: 3 })
    expect(problemsOf('rateLimitStats', stats)).toEqual([])
    const { perMinute, ...sums } = stats.pools.glm!
    expect(sums).toEqual({ requests: 1, provider429: { '1302': 1 }, provider429PerHour: 20 })
    expect(perMinute).toHaveLength(3)
    expect(Date.parse(perMinute[2]!.minute) - Date.parse(perMinute[0]!.minute)).toBe(120_000)
    // The refusal, the end and the question may fall into different minutes.
    expect(perMinute.reduce((sum, { completed }) => sum + completed, 0)).toBe(1)
    expect(perMinute.reduce((sum, { tokensUsed }) => sum + tokensUsed, 0)).toBe(7)
    expect(perMinute[0]).toMatchObject({ completed: 0, latencyP99Ms: null })
    expect((await gate.rateLimitStats()).windowMinutes).toBe(60)
  })

  test.each([0, 1441, 1.5, Number.NaN, '60'])('a window of %s minutes is turned away', async (windowMinutes) => {
    const { gate } = await watched()
    await expect(gate.rateLimitStats({ windowMinutes: windowMinutes as number })).rejects.toMatchObject({
      code: 'BAD_REQUEST',
      message: `windowMinutes: expected a whole number from 1 to 1440, got ${windowMinutes}`,
    })
  })

  test('callers who make up tenants fill no memory', async () => {
    const { gate } = await watched()
    for (let i = 0; i < 120; i++) await gate.run({ pool: 'glm', tenant: `t${i}` }, async () => {})
    const { tenants } = (await gate.monitoring()).pools.glm!
    expect(Object.keys(tenants)).toHaveLength(101)
    expect(tenants['(others)']!.completed).toBe(20)
  })

  test('turned off, it says so', async () => {
    const { gate } = await watched({}, { monitoring: false })
    await expect(gate.monitoring()).rejects.toMatchObject({ message: expect.stringContaining('monitoring: false') })
  })

  test('prices are checked', () => {
    const prices = { currency: '', promptPer1M: -1, completionPer1M: 1 }
    expect(() => createHeadgate({ pools: { glm: { provider: 'glm', prices } } })).toThrow(
      'pools.glm.prices.currency: expected a non-empty string, got an empty string\n' +
        'pools.glm.prices.promptPer1M: expected a number ≥ 0, got -1',
    )
  })
})
