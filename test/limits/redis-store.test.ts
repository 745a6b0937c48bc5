import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { RedisConnection, RedisStore, redisErrorCode } from '../../src/limits/redis-store.js'
import { type RedisServer, startRedisServer } from '../../src/testing/redis-server.js'
import { groupOf, Member, rate, slots } from './driver.js'

const SPEC = groupOf(rate('r', 100, 60_000), slots('c', 10))
const ASK = { charges: [[0, 1] as const, [1, 1] as const] }

describe('the Redis store', () => {
  let server: RedisServer
  let client: Redis
  let connection: RedisConnection
  beforeAll(async () => {
    server = await startRedisServer()
    client = new Redis(server.url)
    connection = new RedisConnection(client)
  })
  afterAll(async () => {
    connection.close()
    client.disconnect()
    await server.stop()
  })
  beforeEach(() => client.flushall())

  const member = (id: string) => new Member(new RedisStore(SPEC, connection), id, { nowMs: 0 }, SPEC)

  test('survives SCRIPT FLUSH without a word', async () => {
    const a = member('a')
    expect((await a.ask([ASK])).grants).toHaveLength(1)
    await client.script('FLUSH')
    expect((await a.ask([ASK])).grants).toHaveLength(1)
  })

  test("takes Redis's own time", async () => {
    const before = Number((await client.time())[0]) * 1000
    const { nowMs } = await member('a').ask([ASK])
    expect(nowMs).toBeGreaterThanOrEqual(before)
    expect(nowMs).toBeLessThanOrEqual(Number((await client.time())[0]) * 1000 + 1000)
  })

  test('keeps every key under one hash tag', async () => {
    await member('a').ask([ASK])
    const keys = await client.keys('*')
    expect(keys.length).toBeGreaterThan(4)
    for (const key of keys) expect(key).toMatch(/^\{test:g\}:/)
  })

  test('what it keeps of a limit goes by itself', async () => {
    await member('a').ask([ASK])
    for (const key of ['{test:g}:b:r', '{test:g}:q:r']) expect(await client.pttl(key)).toBeGreaterThan(60_000)
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
