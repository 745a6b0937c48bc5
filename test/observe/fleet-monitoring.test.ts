import { Redis } from 'ioredis'
import { describe, expect, test, type TestContext } from 'vitest'
import { resolveConfig } from '../../src/config.js'
import { GateEmitter, type OutcomeEvent } from '../../src/events.js'
import { createHeadgate, type Headgate } from '../../src/index.js'
import { planGroups } from '../../src/limits/plan.js'
import { RedisConnection } from '../../src/limits/redis-store.js'
import { Monitor } from '../../src/observe/monitoring/monitor.js'
import { type RedisServer, startRedisServer } from '../../src/testing/index.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'
import { startFleet, TIMEOUT_MS } from '../faults/fleet.js'
import { until } from '../faults/until.js'
import { problemsOf } from './schema.js'

const HOUR_MS = 3_600_000
const KEYS = '{headgate:monitor}:'

const OUTCOME: OutcomeEvent = {
  requestId: 'r',
  pool: 'p',
  tenant: 'default',
  model: 'm',
  provider: 'openai',
  api: undefined,
  status: 'completed',
  via: undefined,
  code: undefined,
  httpStatus: 200,
  estimatedTokens: 10,
  usedTokens: 10,
  refundedTokens: 0,
  promptTokens: 4,
  completionTokens: 6,
  attempts: 1,
  queuedMs: 0,
  waitedMs: 1,
  calledMs: 2,
  backedOffMs: 0,
}

interface Fleet {
  readonly redis: RedisServer
  readonly admin: Redis
  open(): Promise<Headgate>
}

/** Gates of one process over a Redis of their own. */
async function fleetOf({ onTestFinished }: TestContext): Promise<Fleet> {
  const redis = await startRedisServer()
  const admin = new Redis(redis.url)
  admin.on('error', () => {})
  const gates: Headgate[] = []
  onTestFinished(async () => {
    await Promise.all(gates.map((gate) => gate.close()))
    admin.disconnect()
    await redis.stop()
  })
  const open = async () => {
    const gate = createHeadgate({ redis: redis.url, pools: { p: { provider: 'openai' } } })
    gates.push(gate)
    await gate.ready()
    return gate
  }
  return { redis, admin, open }
}

async function work(gate: Headgate, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => gate.run({ pool: 'p', estimatedTokens: 10 }, async () => {})))
}

const completed = async (gate: Headgate) => (await gate.monitoring()).pools.p!.completed

/** As if nobody had written since an hour. */
async function age(admin: Redis): Promise<void> {
  const all = await admin.zrange(`${KEYS}at`, '0', '-1')
  const long = Date.now() - HOUR_MS - 1_000
  for (const generation of all) await admin.zadd(`${KEYS}at`, long, generation)
}

describe.concurrent('what a fleet tells of itself through Redis', { timeout: TIMEOUT_MS }, () => {
  test('four processes, one killed: totals are what they themselves saw end, to the request', async (context) => {
    const limits = { requests: { limit: 10_000, per: 60_000 }, concurrency: 8 }
    const { processes, provider } = await startFleet(context, { processes: 4, limits })
    const [victim, ...survivors] = processes
    await Promise.all(processes.map((process, index) => process.spawn(10 + index)))
    await until('all to end', () => processes.every(({ unended }) => unended === 0))
    // Whoever is asked has all of them write first.
    expect((await survivors[0]!.monitoring()).pools.p!.completed).toBe(10 + 11 + 12 + 13)
    provider.hangNext(3)
    await victim!.spawn(3)
    await until('its calls to hang', () => provider.log.length === 49)
    expect((await survivors[0]!.monitoring()).pools.p).toMatchObject({ completed: 46, states: { calling: 3 } })
    await victim!.kill()
    await Promise.all(survivors.map((process) => process.spawn(5)))
    await until('the rest to end', () => survivors.every(({ unended }) => unended === 0))
    const seen = processes.reduce((sum, { ends }) => sum + ends.size, 0)
    const answers = await Promise.all(survivors.map((process) => process.monitoring()))
    for (const stats of answers) {
      expect(problemsOf('stats', stats)).toEqual([])
      expect(stats).toMatchObject({ store: 'redis', scope: 'fleet', isolated: false })
      expect(stats.totals.completed).toBe(seen)
      expect(stats.pools.p!.tokens.used).toBe(stats.pools.p!.tenants.default!.tokensUsed)
      expect(stats.processes).toHaveLength(4)
    }
    expect(answers[0]!.pools.p!.completed).toBe(46 + 15)
  })

  test('who is gone for an hour is counted for good, in one place, and once', async (context) => {
    const { admin, open } = await fleetOf(context)
    const [gone, living] = [await open(), await open()]
    await Promise.all([work(gone, 3), work(living, 2)])
    expect(await completed(living)).toBe(5)
    await gone.close()
    expect((await living.monitoring()).processes).toHaveLength(1)
    await age(admin)
    // Two at a time, whenever anybody writes.
    await completed(living)
    expect(await completed(living)).toBe(5)
    expect((await admin.hkeys(`${KEYS}totals`)).filter((field) => field.startsWith('*'))).toEqual(['*|p'])
  })

  test('a process that slept that long goes on without what was counted for it', async (context) => {
    const { admin, open } = await fleetOf(context)
    const [sleeper, living] = [await open(), await open()]
    await Promise.all([work(sleeper, 3), work(living, 2)])
    expect(await completed(living)).toBe(5)
    await age(admin)
    for (let i = 0; i < 2; i++) expect(await completed(living)).toBe(5)
    await work(sleeper, 4)
    expect(await completed(sleeper)).toBe(9)
    expect(await completed(living)).toBe(9)
    const { tokens, tenants } = (await living.monitoring()).pools.p!
    expect([tokens.used, tenants.default!.tokensUsed]).toEqual([90, 90])
  })

  test('minutes that are over are kept in one place', async (context) => {
    const { admin, open } = await fleetOf(context)
    const [one, other] = [await open(), await open()]
    await Promise.all([work(one, 3), work(other, 2)])
    await completed(one)
    const [minute] = await admin.zrange(`${KEYS}minutes`, '0', '-1')
    const old = Number(minute) - 62
    await admin.rename(`${KEYS}m:${minute}`, `${KEYS}m:${old}`)
    await admin.zadd(`${KEYS}minutes`, old, old)
    await completed(one)
    expect(await admin.hkeys(`${KEYS}m:${old}`)).toEqual(['*|p'])
    const { pools } = await one.rateLimitStats({ windowMinutes: 90 })
    expect(pools.p!.perMinute.reduce((sum, status) => sum + status.completed, 0)).toBe(5)
  })

  test('a Redis that lost everything is told again', async (context) => {
    const { admin, open } = await fleetOf(context)
    const [one, other] = [await open(), await open()]
    await Promise.all([work(one, 3), work(other, 2)])
    expect(await completed(one)).toBe(5)
    await admin.flushall()
    expect(await completed(one)).toBe(5)
    expect((await one.rateLimitStats()).pools.p!.requests).toBe(5)
  })

  test('without Redis it tells of itself, and says so; what it counted meanwhile is not lost', async (context) => {
    const { redis, open } = await fleetOf(context)
    const [one, other] = [await open(), await open()]
    await Promise.all([work(one, 3), work(other, 2)])
    expect(await completed(one)).toBe(5)
    await redis.kill()
    await until('it to notice', () => !one.sending)
    const cut = await one.monitoring()
    expect(problemsOf('stats', cut)).toEqual([])
    expect(cut).toMatchObject({ store: 'redis', scope: 'process', isolated: true, totals: { completed: 3 } })
    expect((await one.rateLimitStats({ windowMinutes: 2 })).scope).toBe('process')
    await redis.restart()
    await until('both to be back', async () => (await completed(one)) === 5)
  })

  test('every key has an end', async (context) => {
    const { admin, open } = await fleetOf(context)
    const gate = await open()
    await work(gate, 2)
    await until('its counts', async () => (await admin.hlen(`${KEYS}totals`)) === 1)
    const keys = await admin.keys(`${KEYS}*`)
    const ends = await Promise.all(keys.map((key) => admin.pttl(key)))
    expect(keys.length).toBeGreaterThan(4)
    expect(ends.filter((leftMs) => leftMs < 0)).toEqual([])
  })

  test('one write a second while something changes, the first soon, and none at idle', async ({ onTestFinished }) => {
    const redis = await startRedisServer()
    const admin = new Redis(redis.url)
    const clock = new VirtualClock()
    const events = new GateEmitter()
    const connection = new RedisConnection(redis.url)
    const config = resolveConfig({ redis: redis.url, pools: { p: { provider: 'openai' } }, alerts: { rules: [] } })
    const monitor = new Monitor({ config, clock, events, groups: planGroups(config), connection })
    onTestFinished(async () => {
      await monitor.close()
      connection.close()
      admin.disconnect()
      await redis.stop()
    })
    const stats = { pools: {}, models: {}, roundTrips: 0, granted: 0, retries: { made: 0, overBudget: 0 } }
    connection.open()
    await until('Redis', () => connection.commands.status === 'ready')
    monitor.watch({ stats: () => stats, usage: async () => [] })
    await until('the first', async () => (await admin.zcard(`${KEYS}at`)) === 1)
    const written = async () => {
      const [tally] = await admin.hvals(`${KEYS}totals`)
      return tally === undefined ? 0 : (JSON.parse(tally) as { outcomes: { completed: number } }).outcomes.completed
    }
    const end = (count: number) => {
      for (let i = 0; i < count; i++) events.emitSafely('outcome', OUTCOME)
    }
    expect(clock.pendingTimers).toBe(0)
    clock.advance(1_000)
    end(3)
    expect(clock.pendingTimers).toBe(1)
    clock.advance(50)
    await until('it to be written', async () => (await written()) === 3)
    expect(clock.pendingTimers).toBe(0)
    end(100)
    clock.advance(999)
    expect([await written(), clock.pendingTimers]).toEqual([3, 1])
    clock.advance(1)
    await until('the rest', async () => (await written()) === 103)
    expect(clock.pendingTimers).toBe(0)
  })
})
