// Several keys or deployments behind one model, against one simulated account each.
import { describe, expect, test } from 'vitest'
import type { PoolOptions } from '../src/config.js'
import { createHeadgate, type Headgate, type Outcome } from '../src/index.js'
import type { Simulator } from '../src/testing/index.js'
import { cleanups, COMPLETION, reply, simulatorOf, startGateway, upstreamOf } from './gateway/harness.js'

const MESSAGES = [{ role: 'user', content: 'hello' }]
const ASK = { model: 'glm-4', messages: MESSAGES, maxTokens: 3 }

async function twoAccounts(a: Partial<PoolOptions> = {}, b: Partial<PoolOptions> = {}) {
  const accounts = { a: await simulatorOf(), b: await simulatorOf() }
  const common = { provider: 'glm', models: ['glm-4'], guardMs: 5, retry: { maxAttempts: 3, baseMs: 1, capMs: 2 } }
  const pools = {
    a: { ...common, apiKey: 'secret-key-a', baseURL: accounts.a.baseURL, ...a },
    b: { ...common, apiKey: 'secret-key-b', baseURL: accounts.b.baseURL, ...b },
  }
  const gate = createHeadgate({ pools })
  cleanups.push(() => gate.close())
  await gate.ready()
  return { gate, pools, ...accounts }
}

/** All at once, to their ends. */
async function ask(gate: Headgate, count: number, more: object = {}): Promise<Outcome[]> {
  const requests = await Promise.all(Array.from({ length: count }, () => gate.spawn({ ...ASK, ...more })))
  return Promise.all(requests.map(({ outcome }) => outcome))
}

const served = ({ log }: Simulator) => log.filter(({ status }) => status === 200).length
const statuses = (outcomes: Outcome[]) => outcomes.map(({ status }) => status)

describe('limits of their own', () => {
  test('what several windows hold together is served at once, and each window holds no more than its limit', async () => {
    const { gate, a, b } = await twoAccounts(
      { limits: { requests: { limit: 6, per: '1h' } } },
      { limits: { requests: { limit: 3, per: '1h' } } },
    )
    // With any other split one of them would wait for an hour.
    expect(statuses(await ask(gate, 9))).toEqual(Array(9).fill('completed'))
    expect([served(a), served(b)]).toEqual([6, 3])
  })

  test('one by one, a full window is passed by', async () => {
    const { gate, a, b } = await twoAccounts(
      { limits: { requests: { limit: 1, per: '1h' } } },
      { limits: { requests: { limit: 4, per: '1h' } } },
    )
    for (let i = 0; i < 5; i++) expect(statuses(await ask(gate, 1))).toEqual(['completed'])
    expect([served(a), served(b)]).toEqual([1, 4])
  })

  test('a slot that is taken for long sends the others elsewhere', async () => {
    const { gate, a, b } = await twoAccounts({ limits: { concurrency: 1 } }, { limits: { concurrency: 1 } })
    a.hangNext()
    const hanging = await gate.spawn({ ...ASK, model: undefined, pool: 'a' })
    expect(statuses(await ask(gate, 6))).toEqual(Array(6).fill('completed'))
    expect([served(a), served(b)]).toEqual([0, 6])
    hanging.cancel()
  })

  test('equals take turns', async () => {
    const { gate, a, b } = await twoAccounts()
    for (let i = 0; i < 6; i++) await ask(gate, 1)
    expect([served(a), served(b)]).toEqual([3, 3])
  })

  test('a request that only one of them allows goes there, and one that none allows nowhere', async () => {
    const small = { limits: { tokens: { limit: 100, per: '1m' } } }
    const { gate, a, b } = await twoAccounts(small, { limits: { tokens: { limit: 1000, per: '1m' } } })
    expect(statuses(await ask(gate, 3, { maxTokens: 200 }))).toEqual(Array(3).fill('completed'))
    expect([served(a), served(b)]).toEqual([0, 3])
    await expect(gate.spawn({ ...ASK, maxTokens: 2000 })).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  })
})

describe('one that can not serve', () => {
  test('a paused pool gets nothing, and what waits for it goes elsewhere', async () => {
    const { gate, a, b } = await twoAccounts({ limits: { concurrency: 1 } }, { limits: { concurrency: 1 } })
    await gate.pause('a')
    // Its process hears of it with the next reply.
    expect(statuses(await ask(gate, 6))).toEqual(Array(6).fill('completed'))
    expect([a.log.length, served(b)]).toEqual([0, 6])
    await gate.resume('a')
    expect(await gate.complete({ ...ASK, model: undefined, pool: 'a' })).toMatchObject({ object: 'chat.completion' })
  })

  test.each([
    ['1002', 'refuses the key'],
    ['1113', 'has no balance'],
    ['1308', 'has used its quota up'],
  ])('%s: the traffic of a pool that %s goes to the other', async (code) => {
    const { gate, a, b } = await twoAccounts({ limits: { concurrency: 1 } }, { limits: { concurrency: 2 } })
    a.failNext(code, 100)
    const moves: (string | undefined)[] = []
    gate.on('transition', ({ movedFrom, pool }) => movedFrom !== undefined && moves.push(`${movedFrom}>${pool}`))
    for (let i = 0; i < 5; i++) expect(statuses(await ask(gate, 4))).toEqual(Array(4).fill('completed'))
    expect(served(b)).toBe(20)
    // One found out; with one slot nobody else was on the way.
    expect(a.log.map((record) => record.code)).toEqual([code])
    expect(moves).toContain('a>b')
  })

  test('where all refuse the key, the request fails as with one', async () => {
    const { gate, a, b } = await twoAccounts()
    for (const account of [a, b]) account.failNext('1002', 10)
    const [outcome] = await ask(gate, 1)
    expect(outcome).toMatchObject({ status: 'failed', attempts: 2, error: { code: 'AUTH' } })
  })

  test('an overloaded one is left for the other without a pause', async () => {
    const { gate, a, b } = await twoAccounts({ retry: { maxAttempts: 2, baseMs: 60_000, capMs: 60_000 } })
    a.failNext('1305', 10)
    expect(statuses(await ask(gate, 1))).toEqual(['completed'])
    expect(statuses(await ask(gate, 1))).toEqual(['completed'])
    expect(served(a) + served(b)).toBe(2)
  })

  test('what no key can mend is not tried again', async () => {
    const { gate, a, b } = await twoAccounts()
    for (const account of [a, b]) account.failNext('1261', 10)
    const [outcome] = await ask(gate, 1)
    expect(outcome).toMatchObject({ status: 'failed', attempts: 1, error: { code: 'CONTEXT_TOO_LONG' } })
  })
})

describe('every way in', () => {
  test('run says whose key to take; a name without a pool is refused', async () => {
    const { gate } = await twoAccounts()
    const keys = await Promise.all([1, 2].map(() => gate.run({ model: 'glm-4' }, async ({ pool }) => pool)))
    expect(keys.sort()).toEqual(['a', 'b'])
    const message = 'model: expected one of glm-4, got "glm-5"'
    await expect(gate.run({ model: 'glm-5' }, async () => 0)).rejects.toMatchObject({ code: 'BAD_REQUEST', message })
  })

  test('complete, trySpawn, streams, and the wait', async () => {
    const { gate } = await twoAccounts()
    expect(await gate.complete(ASK)).toMatchObject({ model: 'glm-4' })
    expect(await gate.trySpawn(ASK)?.outcome).toMatchObject({ status: 'completed' })
    const request = await gate.spawn({ ...ASK, stream: true })
    let text = ''
    for await (const chunk of request.chunks) text += chunk.choices[0]?.delta.content ?? ''
    expect(text.trim()).toBe('word word word')
    expect(gate.estimateWait('glm-4')).toBe(0)
    await gate.pause('a')
    expect(gate.stats().models).toEqual({ 'glm-4': { pools: ['a', 'b'], atGate: 0, queued: 0, active: 0 } })
  })

  test('a pool that is named keeps its requests', async () => {
    const { gate, a, b } = await twoAccounts()
    for (let i = 0; i < 4; i++) await ask(gate, 1, { pool: 'b' })
    expect([served(a), served(b)]).toEqual([0, 4])
  })

  test('a stream that began in one pool is not begun again in another', async () => {
    const { gate, a, b } = await twoAccounts()
    for (const account of [a, b]) account.failNext('late-1305')
    const [outcome] = await ask(gate, 1, { stream: true })
    expect(outcome).toMatchObject({ status: 'failed', attempts: 1, error: { code: 'OVERLOADED' } })
  })

  test('a governed fetch without a pool, and the gateway: the model picks them', async () => {
    const { gate, pools, a, b } = await twoAccounts()
    const body = JSON.stringify({ model: 'glm-4', messages: MESSAGES })
    const post = { method: 'POST', body }
    const governed = gate.fetch()
    for (let i = 0; i < 2; i++) expect((await governed('http://any/v1/chat/completions', post)).status).toBe(200)
    expect([served(a), served(b)]).toEqual([1, 1])
    const unknown = await governed('http://any/v1/chat/completions', { ...post, body: '{"model":"x"}' })
    expect(unknown.status).toBe(404)
    const gateway = await startGateway(a, { pool: pools.a, pools: { b: pools.b } })
    for (let i = 0; i < 4; i++) expect((await gateway.chat()).status).toBe(200)
    expect([served(a), served(b)]).toEqual([3, 3])
    expect(new Set(gateway.log.requests().map(({ pool }) => pool))).toEqual(new Set(['glm', 'b']))
    // By its own name it is that pool.
    for (let i = 0; i < 2; i++) await gateway.chat({ model: 'b', messages: MESSAGES })
    expect(served(b)).toBe(5)
  })

  test('no answer repeats the key of any of them', async () => {
    const upstream = await upstreamOf((received) =>
      reply(received, 400, { error: { message: `bad ${received.headers.authorization}`, code: '1210' } }),
    )
    const pool = { provider: 'glm', baseURL: upstream.baseURL, models: ['glm-4'] }
    const gateway = await startGateway(upstream, {
      pool: { apiKey: 'secret-key-a' },
      pools: { b: { ...pool, apiKey: 'secret-key-b' } },
    })
    for (let i = 0; i < 4; i++) expect(await (await gateway.chat()).text()).toContain('bad Bearer [key]')
  })

  test('a full queue of all of them is a 429 with a date', async () => {
    const pool = { limits: { concurrency: 1 }, queue: { maxQueued: 1, maxActive: 1 } }
    const { a, pools } = await twoAccounts(pool, pool)
    const gateway = await startGateway(a, { pool: pools.a, pools: { b: pools.b }, queue: pool.queue })
    const answers = await Promise.all(Array.from({ length: 12 }, () => gateway.chat()))
    const refused = answers.filter(({ status }) => status === 429)
    expect(refused.length).toBeGreaterThan(0)
    expect(await refused[0]!.json()).toMatchObject({
      error: { message: expect.stringContaining('model glm-4: its queue') },
    })
    expect(Number(refused[0]!.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
  })

  test('each is asked for the model by its own name', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, COMPLETION))
    const pool = { provider: 'openai', baseURL: upstream.baseURL, apiKey: 'k' }
    const models = { 'gpt-4o': 'prod-4o' }
    const gate = createHeadgate({ pools: { own: { ...pool, models: ['gpt-4o'] }, azure: { ...pool, models } } })
    cleanups.push(() => gate.close())
    for (let i = 0; i < 2; i++) await gate.complete({ model: 'gpt-4o', messages: MESSAGES })
    await gate.complete({ pool: 'azure', messages: MESSAGES })
    const asked = upstream.received.map(({ body }) => body.model)
    expect(asked.slice(0, 2).sort()).toEqual(['gpt-4o', 'prod-4o'])
    expect(asked[2]).toBe('prod-4o')
  })
})
