import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createHeadgate, type GateOptions, type GateRequest, type Headgate } from '../../src/index.js'
import { type Simulator, startSimulator } from '../../src/testing/index.js'
import { type RedisServer, startRedisServer } from '../../src/testing/redis-server.js'

const chatOf = (content: string) => ({ pool: 'glm', messages: [{ role: 'user', content }], maxTokens: 3 })
const CHAT = chatOf('hello there')

let simulator: Simulator
const gates: Headgate[] = []
beforeEach(async () => {
  simulator = await startSimulator({ profile: 'glm' })
})
afterEach(async () => {
  await Promise.all(gates.splice(0).map((gate) => gate.close()))
  await simulator.close()
})

type Cache = NonNullable<GateOptions['cache']>
type Pool = Partial<GateOptions['pools'][string]>

function open(cache: Cache = {}, pool: Pool = {}, more: Partial<GateOptions> = {}): Headgate {
  const own = { provider: 'glm', apiKey: 'secret', baseURL: simulator.baseURL, guardMs: 5, retry: { maxAttempts: 1 } }
  const gate = createHeadgate({ cache, pools: { glm: { ...own, ...pool } }, ...more })
  gates.push(gate)
  return gate
}

async function read(request: GateRequest) {
  const events = []
  for await (const event of request.stream!.events()) events.push(event)
  return events
}

describe('an answer that is known', () => {
  test('is given again: no token, no call, nothing charged; the request walks its states', async () => {
    const gate = open()
    const transitions: string[] = []
    const first = await gate.complete(CHAT)
    gate.on('transition', ({ from, to, event }) => transitions.push(`${from} ${event} ${to}`))
    const { granted } = gate.stats()
    const outcome = await (await gate.spawn(CHAT)).outcome
    expect(outcome).toMatchObject({ status: 'completed', via: 'cache', attempts: 0, httpStatus: 200 })
    expect(outcome.usage).toEqual({ estimatedTokens: 0, promptTokens: 0, completionTokens: 0, totalTokens: 0 })
    expect(outcome.value).toEqual(first)
    expect(transitions).toEqual(['null xstate.init queued', 'queued ANSWER_KNOWN done'])
    expect(simulator.log).toHaveLength(1)
    expect(gate.stats()).toMatchObject({ granted, cache: { hits: 1, misses: 1, stored: 1, entries: 1 } })
  })

  test('is given by trySpawn and while the queue is full, the pool pauses or the deadline can’t be made', async () => {
    const gate = open({}, { queue: { maxActive: 1, maxQueued: 1 }, limits: { requests: '2/1h' } })
    await gate.complete(CHAT)
    await gate.pause('glm')
    await gate.spawn(chatOf('one'))
    await gate.spawn(chatOf('two'))
    expect(gate.trySpawn(chatOf('three'))).toBeUndefined()
    expect(await gate.trySpawn({ ...CHAT, deadline: 1 })!.outcome).toMatchObject({ via: 'cache' })
  })

  test('is each tenant’s own, unless they share', async () => {
    const gate = open()
    await gate.complete({ ...CHAT, tenant: 'a' })
    expect(await (await gate.spawn({ ...CHAT, tenant: 'b' })).outcome).not.toHaveProperty('via')
    const sharing = open({ acrossTenants: true })
    await sharing.complete({ ...CHAT, tenant: 'a' })
    expect(await (await sharing.spawn({ ...CHAT, tenant: 'b' })).outcome).toMatchObject({ via: 'cache' })
  })

  test('who wants neither it nor to be one says so', async () => {
    const gate = open()
    await gate.complete({ ...CHAT, cache: false })
    await gate.complete(CHAT)
    await gate.complete({ ...CHAT, cache: false })
    expect(simulator.log).toHaveLength(3)
    expect(gate.stats().cache).toMatchObject({ hits: 0, stored: 1 })
  })

  test.each(['1302', '1214', 'late-1305'])('an error (%s) is none', async (code) => {
    const gate = open()
    simulator.failNext(code)
    await expect(gate.complete(CHAT)).rejects.toThrow()
    expect(await (await gate.spawn(CHAT)).outcome).toMatchObject({ status: 'completed' })
    expect(simulator.log).toHaveLength(2)
  })

  test('a message in its place is none', async () => {
    const gate = open({}, { degradedMessage: 'busy' })
    simulator.failNext('1302')
    await gate.complete(CHAT)
    expect(gate.stats().cache).toMatchObject({ entries: 0 })
  })

  test('one past its time stands in for one that can’t be had, before the message does', async () => {
    const gate = open({ ttl: 1, staleTtl: '1h' }, { degradedMessage: 'busy' })
    const first = await gate.complete(CHAT)
    await new Promise((resolve) => setTimeout(resolve, 5))
    simulator.failNext('1302', 3)
    const outcome = await (await gate.spawn(CHAT)).outcome
    expect(outcome).toMatchObject({
      status: 'degraded',
      via: 'cache',
      reason: 'attempts',
      error: { code: 'RATE_LIMITED' },
    })
    expect(outcome.value).toEqual(first)
    expect(gate.stats().cache).toMatchObject({ stale: 1 })
    await expect(gate.complete({ ...CHAT, degrade: false })).rejects.toMatchObject({ code: 'RATE_LIMITED' })
    expect(await (await gate.spawn({ ...CHAT, cache: false })).outcome).toMatchObject({ via: 'message' })
  })

  test('one past its time is given at once to who can’t make its deadline; without one that is an error', async () => {
    const gate = open({ ttl: 1, staleTtl: '1h' }, { limits: { requests: '1/1h' } })
    const first = await gate.complete(CHAT)
    await new Promise((resolve) => setTimeout(resolve, 5))
    await expect.poll(() => gate.estimateWait('glm')).toBeGreaterThan(60_000)
    const outcome = await (await gate.spawn({ ...CHAT, deadline: '30s' })).outcome
    expect(outcome).toMatchObject({ status: 'degraded', via: 'cache', reason: 'deadline', attempts: 0, value: first })
    const { status, error } = await (await gate.spawn({ ...chatOf('another'), deadline: '30s' })).outcome
    expect([status, error]).toMatchObject([
      'expired',
      { code: 'DEADLINE_EXCEEDED', message: expect.stringMatching(/can’t be made$/) },
    ])
    expect(error!.retryAfterMs).toBeGreaterThan(60_000)
    expect(simulator.log).toHaveLength(1)
  })

  test('a streamed one is given as a stream, event by event; a whole one is no stream', async () => {
    const gate = open()
    const first = await read(await gate.spawn({ ...CHAT, stream: true }))
    expect(first.length).toBeGreaterThan(3)
    const again = await gate.spawn({ ...CHAT, stream: true })
    expect(await again.stream!.started).toMatchObject({ via: 'cache', outcome: 'completed', head: { status: 200 } })
    expect(await read(again)).toEqual(first)
    expect(await again.outcome).toMatchObject({ status: 'completed', via: 'cache', attempts: 0 })
    expect(await (await gate.spawn(CHAT)).outcome).not.toHaveProperty('via')
    expect(simulator.log).toHaveLength(2)
  })

  test('a stream that broke, or was left, is none', async () => {
    const gate = open()
    simulator.cutNext()
    await read(await gate.spawn({ ...CHAT, maxTokens: 50, stream: true })).catch(() => {})
    const left = await gate.spawn({ ...CHAT, maxTokens: 50, stream: true })
    for await (const _ of left.chunks) break
    await left.outcome
    expect(gate.stats().cache).toMatchObject({ stored: 0 })
  })

  test('a governed fetch has it, too, and may do without', async () => {
    const gate = open()
    const post = (headers: Record<string, string> = {}) =>
      gate.fetch('glm')('http://any/v1/chat/completions', {
        method: 'POST',
        headers,
        body: JSON.stringify({ model: 'glm-4', messages: CHAT.messages }),
      })
    const statuses = []
    for (const headers of [{}, {}, { 'cache-control': 'no-cache' }, { 'x-headgate-cache': 'off' }]) {
      const response = await post(headers as Record<string, string>)
      await response.json()
      statuses.push([
        response.status,
        response.headers.get('x-headgate-via'),
        response.headers.get('x-headgate-outcome'),
      ])
    }
    expect(statuses).toEqual([
      [200, null, 'completed'],
      [200, 'cache', 'completed'],
      [200, null, 'completed'],
      [200, null, 'completed'],
    ])
  })
})

describe('the same question in flight', () => {
  const ask = (gate: Headgate, more: object = {}) => gate.spawn({ ...CHAT, ...more })
  const slow = async () => {
    await simulator.close()
    simulator = await startSimulator({ profile: 'glm', latencyMs: 150 })
  }
  beforeEach(slow)

  test('is one call, whose answer each gets a copy of', async () => {
    const gate = open({ coalesce: true })
    const all = await Promise.all(Array.from({ length: 20 }, () => ask(gate)))
    const outcomes = await Promise.all(all.map(({ outcome }) => outcome))
    expect(simulator.log).toHaveLength(1)
    expect(outcomes.filter(({ via }) => via === 'cache')).toHaveLength(19)
    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(['completed']))
    expect(new Set(outcomes.map(({ value }) => value)).size).toBe(20)
    expect(new Set(outcomes.map(({ value }) => JSON.stringify(value))).size).toBe(1)
    expect(gate.stats()).toMatchObject({ granted: 1, pools: { glm: { outcomes: { completed: 20 }, active: 0 } } })
  })

  test('is not shared unless asked to, nor by who wants an answer of his own', async () => {
    const apart = open()
    await Promise.all([apart.complete(CHAT), apart.complete(CHAT)])
    const gate = open({ coalesce: true })
    await Promise.all([gate.complete(CHAT), gate.complete({ ...CHAT, cache: false }), gate.complete(CHAT)])
    expect(simulator.log).toHaveLength(4)
  })

  test('streams replay', async () => {
    const gate = open({ coalesce: true })
    const all = [1, 2, 3].map(() => gate.trySpawn({ ...CHAT, stream: true })!)
    const [first, ...others] = await Promise.all(all.map(read))
    for (const other of others) expect(other).toEqual(first)
    expect(simulator.log).toHaveLength(1)
  })

  test('a leader whose stream nobody reads holds nobody up', async () => {
    const gate = open({ coalesce: true })
    const leader = await ask(gate, { stream: true, maxTokens: 2_000 })
    const follower = await ask(gate, { stream: true, maxTokens: 2_000 })
    expect((await read(follower)).length).toBeGreaterThan(100)
    leader.cancel()
  })

  test('a leader that goes away leaves its call to others; a follower that does takes nobody along', async () => {
    const gate = open({ coalesce: true }, { limits: { concurrency: 1 }, adaptive: false })
    const [leader, second, third, fourth] = await Promise.all([
      ask(gate),
      ask(gate),
      ask(gate, { deadline: 20 }),
      ask(gate),
    ])
    second!.cancel()
    expect(await third!.outcome).toMatchObject({ status: 'expired' })
    leader!.cancel()
    expect(await leader!.outcome).toMatchObject({ status: 'cancelled' })
    expect(await second!.outcome).toMatchObject({ status: 'cancelled' })
    expect(await fourth!.outcome).toMatchObject({ status: 'completed', via: 'cache' })
    expect(simulator.log).toHaveLength(1)
    await gate.drain()
    expect(gate.stats().pools.glm).toMatchObject({ active: 0, queued: 0 })
  })

  test('an error is not shared: each finds out for itself', async () => {
    const gate = open({ coalesce: true })
    simulator.failNext('1302')
    const all = await Promise.all([ask(gate), ask(gate), ask(gate)])
    const ends = await Promise.all(all.map(async ({ outcome }) => (await outcome).status))
    expect(ends).toEqual(['failed', 'completed', 'completed'])
    expect(simulator.log).toHaveLength(3)
  })

  test('followers need no place, and end with the gate', async () => {
    const gate = open({ coalesce: true }, { queue: { maxActive: 1, maxQueued: 1 } })
    simulator.hangNext()
    const leader = await ask(gate)
    const followers = await Promise.all([ask(gate), ask(gate), ask(gate)])
    expect(gate.stats().pools.glm).toMatchObject({ queued: 0, active: 1, states: { queued: 3 } })
    expect(gate.trySpawn(chatOf('another'))).toBeDefined()
    await gate.close()
    const ends = await Promise.all([leader, ...followers].map(async ({ outcome }) => (await outcome).status))
    expect(ends).toEqual(['cancelled', 'cancelled', 'cancelled', 'cancelled'])
  })
})

describe('answers kept in Redis', () => {
  let server: RedisServer
  beforeEach(async () => {
    server = await startRedisServer()
  })
  afterEach(() => server.stop())

  const both = async (cache: Cache = {}) => {
    const gate = [1, 2].map(() => open({ store: 'redis', ...cache }, {}, { redis: server.url, namespace: 'ns' }))
    await Promise.all(gate.map((one) => one.ready()))
    return gate as [Headgate, Headgate]
  }

  test('are the fleet’s: for spawn and trySpawn, whole and streamed, and nobody reads a prompt there', async () => {
    const [one, two] = await both()
    const whole = await one.complete(CHAT)
    const events = await read(await one.spawn({ ...CHAT, stream: true }))
    const { Redis } = await import('ioredis')
    const redis = new Redis(server.url)
    await expect.poll(() => redis.keys('ns:answer:*')).toHaveLength(2)
    for (const key of await redis.keys('ns:answer:*')) {
      expect(await redis.pttl(key)).toBeGreaterThan(24 * 3_600_000)
      expect(await redis.get(key)).not.toContain('hello there')
    }
    redis.disconnect()
    expect(await (await two.spawn(CHAT)).outcome).toMatchObject({ via: 'cache', value: whole })
    const streamed = two.trySpawn({ ...CHAT, stream: true })!
    expect(await read(streamed)).toEqual(events)
    expect(await streamed.outcome).toMatchObject({ status: 'completed', via: 'cache', attempts: 0 })
    expect(simulator.log).toHaveLength(2)
    expect(two.stats()).toMatchObject({ granted: 0, cache: { hits: 2, misses: 0, entries: 2 } })
    // From here on they are in its memory.
    expect(await two.trySpawn(CHAT)!.outcome).toMatchObject({ via: 'cache' })
  })

  test('are given over HTTP while the queue is full', async () => {
    const post = async (gate: Headgate, content: string) => {
      const body = JSON.stringify({ model: 'glm-4', messages: chatOf(content).messages })
      const { status, headers } = await gate.fetch('glm')('http://any/v1/chat/completions', { method: 'POST', body })
      return [status, headers.get('x-headgate-via')]
    }
    const [one] = await both()
    expect(await post(one, 'known')).toEqual([200, null])
    const queue = { maxActive: 1, maxQueued: 1 }
    const full = open({ store: 'redis' }, { queue }, { redis: server.url, namespace: 'ns' })
    await full.ready()
    await full.pause('glm')
    await full.spawn(chatOf('one'))
    await full.spawn(chatOf('two'))
    expect(await post(full, 'unknown')).toEqual([429, null])
    expect(await post(full, 'known')).toEqual([200, 'cache'])
  })

  test('the same question in flight is one call of the fleet, a stream too', async () => {
    await simulator.close()
    simulator = await startSimulator({ profile: 'glm', latencyMs: 150 })
    const [one, two] = await both({ coalesce: true })
    const all = await Promise.all([one, two, one, two].map((gate) => gate.spawn(CHAT)))
    const outcomes = await Promise.all(all.map(({ outcome }) => outcome))
    expect(outcomes.filter(({ via }) => via === 'cache')).toHaveLength(3)
    const streams = [one, two].map((gate) => gate.trySpawn({ ...CHAT, stream: true })!)
    const [first, second] = await Promise.all(streams.map(read))
    expect(second).toEqual(first)
    expect(simulator.log).toHaveLength(2)
    expect(one.stats().granted + two.stats().granted).toBe(2)
  })

  test('another process takes over from one whose caller went away, or which died; an error is not waited out', async () => {
    const [one, two] = await both({ coalesce: true })
    simulator.hangNext()
    const leader = await one.spawn(CHAT)
    await expect.poll(() => simulator.log.length).toBe(1)
    const follower = await two.spawn(CHAT)
    leader.cancel()
    expect(await follower.outcome).toMatchObject({ status: 'completed', attempts: 1 })
    // A lease that nobody holds any more runs out.
    const { Redis } = await import('ioredis')
    const redis = new Redis(server.url)
    simulator.hangNext()
    const other = chatOf('another question')
    const hanging = await one.spawn(other)
    await expect.poll(() => redis.keys('ns:answering:*')).toHaveLength(1)
    const [lease] = await redis.keys('ns:answering:*')
    const waiting = await two.spawn(other)
    await redis.pexpire(lease!, 1)
    expect(await waiting.outcome).toMatchObject({ status: 'completed', attempts: 1 })
    hanging.cancel()
    simulator.failNext('1302')
    const third = chatOf('a third one')
    const ends = await Promise.all([one, two].map(async (gate) => (await (await gate.spawn(third)).outcome).status))
    expect(ends.sort()).toEqual(['completed', 'failed'])
    await expect.poll(() => redis.keys('ns:answering:*')).toEqual([])
    redis.disconnect()
  })

  test('without Redis each request goes its way', async () => {
    const [one] = await both()
    await one.complete(CHAT)
    await server.kill('SIGKILL')
    // What was kept here is still known.
    expect(await one.complete(CHAT)).toBeDefined()
    const lost = await one.spawn({ ...chatOf('another'), deadline: 200 })
    expect(await lost.outcome).toMatchObject({ status: 'expired' })
  })
})
