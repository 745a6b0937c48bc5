import { readdirSync, readFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { RedisConnection, RedisStore, redisErrorCode } from '../../src/limits/redis-store.js'
import type { GroupSpec } from '../../src/limits/store.js'
import { type RedisServer, startRedisServer } from '../../src/testing/redis-server.js'
import { groupOf, rate, redisKind, slots } from './driver.js'
import { countsOf, datesOf, journalOf, Process } from './process.js'

const SPEC = groupOf(rate('r', 100, 60_000), slots('c', 10))
const KEEP_MS = 60_000

describe('the Redis store', () => {
  let server: RedisServer
  let client: Redis
  const opened: RedisStore[] = []
  const connections: RedisConnection[] = []
  beforeAll(async () => {
    server = await startRedisServer()
    client = new Redis(server.url)
    // A server that has just started may have lost what others still remember.
    const uptime = async () => Number(/uptime_in_seconds:(\d+)/.exec(await client.info('server'))![1])
    await vi.waitFor(async () => expect(await uptime()).toBeGreaterThanOrEqual(2), { timeout: 10_000, interval: 50 })
  })
  afterAll(async () => {
    client.disconnect()
    await server.stop()
  })
  beforeEach(() => client.flushall())
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close()
    for (const connection of connections.splice(0)) connection.close()
  })

  /** A process on Redis's own time. */
  const open = (name: string, spec: GroupSpec = SPEC) => {
    const connection = new RedisConnection(client)
    connection.open()
    connections.push(connection)
    const store = new RedisStore(spec, connection)
    opened.push(store)
    const world = { instant: { nowMs: Date.now() }, open: async () => store }
    return Process.open(world as never, spec, name)
  }

  test('survives SCRIPT FLUSH without a word', async () => {
    const a = await open('a')
    expect(countsOf(await a.ask([{}]))).toEqual({ f: 1 })
    await client.script('FLUSH')
    expect(countsOf(await a.ask([{}]))).toEqual({ f: 1 })
    await client.script('FLUSH')
    expect(await a.used()).toEqual([2, 2])
    await client.script('FLUSH')
    await a.store.control({ type: 'pause', pool: 'p0' })
    expect((await a.ask()).paused).toEqual([0])
  })

  test("takes Redis's own time", async () => {
    const before = Number((await client.time())[0]) * 1000
    const { nowMs } = await (await open('a')).ask([{}])
    expect(nowMs).toBeGreaterThanOrEqual(before)
    expect(nowMs).toBeLessThanOrEqual(Number((await client.time())[0]) * 1000 + 1000)
  })

  test('keeps every key under one hash tag, and each goes by itself: windows and leases over', async () => {
    const spec = groupOf(rate('r', 3, 60_000), slots('c', 10))
    const [a, b] = [await open('a', spec), await open('b', spec)]
    const tenants = (count: number) => ['x', 'y', 'z'].map((tenant) => ({ key: tenant, tenant, count }))
    const lease = { leaseMs: 10_000 }
    await a.ask(tenants(2), lease)
    await b.ask(tenants(2), lease)
    await a.ask([{ key: 'x', tenant: 'x', count: 0 }], { ...lease, service: [[0, 'x', 'x', 5_000_000]] })
    // Those two are granted something between them, with nobody there to fetch it.
    await a.store.control({ type: 'limit', id: 'r', base: 3, limit: 8 })
    await b.ask([], lease)
    const keys = await client.keys('*')
    const kinds = keys.map((key) => key.replace(/^\{test:g\}:(?:[^:]+:)?/, '').replace(/:.*/, '')).sort()
    expect(kinds).toEqual(expect.arrayContaining(['b', 'core', 'ctl', 'f', 'last', 'mail', 'n', 'procs', 't', 'w']))
    for (const key of keys) {
      expect(key).toMatch(/^\{test:g\}:/)
      // All but the operators' words, which outlive the fleet.
      const [least, most] = key.endsWith(':ctl')
        ? [86_400_000, 31 * 86_400_000]
        : [60_200, 2 * (60_200 + 10_000 + KEEP_MS)]
      expect(await client.pttl(key)).toBeGreaterThan(least)
      expect(await client.pttl(key)).toBeLessThanOrEqual(most)
    }
  })

  test('who left behind nothing that waits leaves no key of the queues', async () => {
    const a = await open('a')
    await a.ask([{ count: 50, tenant: 'x' }])
    await a.ask([{ count: 0, tenant: 'x' }])
    await a.ask([], { leave: true })
    const kinds = (await client.keys('*')).map((key) => key.split(':').slice(3).join(':'))
    expect(kinds.filter((key) => /^[tnfiw]:|^mail:/.test(key))).toEqual([])
  })

  test('a pause is remembered when the fleet is gone', async () => {
    const a = await open('a')
    await a.ask()
    await a.store.control({ type: 'pause', pool: 'p0' })
    await client.del('{test:g}:core')
    expect((await (await open('b')).ask([{}])).paused).toEqual([0])
    await a.store.control({ type: 'resume', pool: 'p0' })
    expect(await client.exists('{test:g}:ctl')).toBe(0)
  })

  test('a learned ceiling is remembered when the fleet is gone', async () => {
    const spec = groupOf({ ...slots('c', 10), adaptive: true })
    const a = await open('a', spec)
    const [grantedAtMs] = datesOf(await a.ask([{ count: 8 }]))
    await a.ask([], { cuts: [[0, grantedAtMs!]], freed: [[0, 8]] })
    await client.del('{test:g}:core')
    expect((await (await open('b', spec)).ask()).ceilings).toEqual([[0, 4]])
  })

  test('names and keys may hold any character', async () => {
    const spec = { ...groupOf(rate('pool:ü "x"\\:r', 9, 60_000)), pools: ['a:b', "p'\n:"] }
    const a = await open('höst "1"', spec)
    const flow = { key: '"k"\t|é', tenant: '租户:1\n' }
    expect(countsOf(await a.ask([{ ...flow, count: 12 }]))).toEqual({ [flow.key]: 9 })
    expect((await a.ask([{ ...flow, pool: 1, count: 2 }])).queues).toHaveLength(2)
    expect((await a.store.usage()).limits[0]).toMatchObject({ id: spec.limits[0]!.id, used: 9 })
  })

  test('numbers beyond 14 digits are exact', async () => {
    const spec = groupOf(rate('t', 9_007_199_254_740_991, 86_400_000, 'tokens'))
    const a = await open('a', spec)
    const tokens = 1_234_567_890_123_457
    const { nowMs, grants } = await a.ask([{ costs: [tokens], perToken: 0, base: 1 }])
    expect(grants).toEqual([['f', nowMs, tokens]])
    expect((await a.ask()).used).toEqual([[0, tokens]])
    expect(await a.used()).toEqual([tokens])
  })

  test('a large batch of settlements and many waiting flows pass in one call', async () => {
    const spec = groupOf(rate('r', 100_000, 3_600_000), slots('c', 100_000))
    const a = await open('a', spec)
    const asks = Array.from({ length: 2_000 }, (_, i) => ({ key: `f${i}`, tenant: `t${i % 700}` }))
    await a.store.control({ type: 'pause', pool: 'p0' })
    expect((await a.ask(asks)).queues).toEqual([[0, 0, 2_000 * 36_000, 2_000]])
    await a.store.control({ type: 'resume', pool: 'p0' })
    const bucket = Math.floor(a.nowMs / 6_000)
    const adjustments = Array.from({ length: 5_000 }, (_, i) => [0, bucket - (i % 500), 1] as const)
    expect(Object.keys(countsOf(await a.ask([], { adjustments })))).toHaveLength(512)
    expect((await a.used())[0]).toBe(5_512)
  })

  test('a server that has just started is asked again in a moment: its survivors may not be back yet', async () => {
    const fresh = await startRedisServer()
    const own = new Redis(fresh.url)
    const connection = new RedisConnection(own)
    connection.open()
    const store = new RedisStore(SPEC, connection)
    const world = { instant: { nowMs: Date.now() }, open: async () => store }
    const a = await Process.open(world as never, SPEC)
    const { nowMs, learnUntilMs, grants } = await a.ask([{}])
    expect([learnUntilMs - nowMs, grants]).toEqual([1_000, []])
    await store.close()
    connection.close()
    own.disconnect()
    await fresh.stop()
  })

  test('a replica that took over may lack the tail: it is learned what was spent, though nobody misses a reply', async () => {
    const second = await startRedisServer()
    const replica = new Redis(second.url)
    const a = await open('a')
    const { epoch } = await a.ask([{}])
    await replica.replicaof('127.0.0.1', server.port)
    await vi.waitFor(async () => expect(await replica.get('{test:g}:core')).toBeTruthy(), {
      timeout: 10_000,
      interval: 50,
    })
    await replica.call('REPLICAOF', 'NO', 'ONE')
    const connection = new RedisConnection(replica)
    connection.open()
    const store = new RedisStore(SPEC, connection)
    const reply = await store.exchange({
      ...a.last!,
      ...{ seq: 2, knownEpoch: epoch },
      ...{ knownVersion: a.version, candidateEpoch: '2-a', flows: [] },
    })
    expect(reply).toMatchObject({ fenced: true, epoch: '2-a', learnUntilMs: reply.nowMs + 10_000 })
    await store.close()
    connection.close()
    replica.disconnect()
    await second.stop()
  })

  test('a connection that broke and came back to the same server is no reason to learn', async () => {
    const own = new Redis(server.url)
    const connection = new RedisConnection(own)
    connection.open()
    const store = new RedisStore(SPEC, connection)
    const world = { instant: { nowMs: Date.now() }, open: async () => store }
    const a = await Process.open(world as never, SPEC)
    const { epoch } = await a.ask([{}])
    const ready = new Promise((resolve) => own.once('ready', resolve))
    await client.client('KILL', 'ID', await own.client('ID'))
    await ready
    expect(await a.ask([{}])).toMatchObject({ epoch, fenced: false, learnUntilMs: 0 })
    await store.close()
    connection.close()
    own.disconnect()
  })

  test.each([
    ['NOSCRIPT No matching script.', 'NOSCRIPT'],
    ['ERR NOSCRIPT No matching script.', 'NOSCRIPT'],
    ['ERR UNKNOWN_CLIENT', 'UNKNOWN_CLIENT'],
    ['WRONGPASS invalid username-password pair', 'WRONGPASS'],
    ['Connection is closed.', ''],
  ])('reads the code of "%s"', (message, code) => {
    expect(redisErrorCode(new Error(message))).toBe(code)
  })

  test("leaves nothing on a client that is somebody else's", async () => {
    const counts = () => ['ready', 'close', 'error'].map((event) => client.listenerCount(event))
    const before = counts()
    const second = new RedisConnection(client)
    const ups: number[] = []
    const events = { wake() {}, up: () => ups.push(1), down() {} }
    for (let i = 0; i < 20; i++) second.listen({ ...events })
    expect(ups).toHaveLength(20)
    expect(counts()).toEqual(before.map((count) => count + 1))
    second.close()
    expect(counts()).toEqual(before)
  })

  test('says who is unavailable and why, and never the password', () => {
    const lost = new RedisConnection('redis://:hunter2@127.0.0.1:1/0')
    const error = lost.unavailable(new Error('connect ECONNREFUSED 127.0.0.1:1'))
    expect(error.message).toBe('Redis at 127.0.0.1:1 is unavailable: connect ECONNREFUSED 127.0.0.1:1')
    expect(JSON.stringify({ ...error, stack: error.stack })).not.toContain('hunter2')
    lost.close()
  })
})

test('no script has a long bracket within another: the Lua of Redis as its makers build it refuses that', () => {
  const scripts = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.lua'))
  expect(scripts.length).toBeGreaterThan(10)
  const nested = scripts.filter((path) => /\[\[(?:(?!\]\])[\s\S])*\[\[/.test(readFileSync(`src/${path}`, 'utf8')))
  expect(nested).toEqual([])
})

describe('the Redis store on injected time', () => {
  const kind = redisKind()
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test('a former epoch leaves no key behind', async () => {
    const world = await kind.fresh()
    const a = await Process.open(world, SPEC)
    await a.ask([{ count: 50 }])
    const former = a.epoch
    await a.ask([], { distrust: true })
    await a.rejoin([], { journal: journalOf({}) })
    expect((await world.keys()).all).toEqual(expect.not.arrayContaining([expect.stringContaining(`:${former}:`)]))
    await world.end()
  })
})
