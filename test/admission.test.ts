import { afterEach, describe, expect, test, vi } from 'vitest'
import { createHeadgate, type GateOptions, type Headgate, type HeadgateError } from '../src/index.js'

const HOUR_MS = 3_600_000
type Pool = Partial<GateOptions['pools'][string]>

let gate: Headgate
afterEach(() => gate.close())

function open(pool: Pool, more: Partial<GateOptions> = {}): Headgate {
  gate = createHeadgate({ pools: { p: { provider: 'glm', apiKey: 'secret', ...pool } }, ...more })
  return gate
}
const ONCE_AN_HOUR: Pool = { limits: { requests: { limit: 1, per: '1h' } } }

/** The limit is spent, and one waits for it already. */
async function openSpent(pool: Pool = {}, more: Partial<GateOptions> = {}): Promise<void> {
  open({ ...ONCE_AN_HOUR, ...pool }, more)
  await gate.run({ pool: 'p' }, async () => {})
  const { roundTrips } = gate.stats()
  gate.run({ pool: 'p' }, async () => {}).catch(() => {})
  await vi.waitFor(() => expect(gate.stats().roundTrips).toBeGreaterThan(roundTrips))
  await vi.waitFor(() => expect(gate.estimateWait('p')).toBeGreaterThan(HOUR_MS / 2))
}

/** What a promise was rejected with. */
const failureOf = (promise: Promise<unknown>): Promise<HeadgateError> =>
  promise.then(
    () => {
      throw new Error('expected a rejection')
    },
    (error: HeadgateError) => error,
  )

const refused = (code: string) =>
  Object.assign(new Error('refused'), { status: 429, error: { code, message: 'refused' }, headers: new Headers() })

describe('a deadline that can’t be made', () => {
  test('is refused at admission, with an honest hint; the request is never accepted', async () => {
    await openSpent()
    const transitions = vi.fn()
    gate.on('transition', transitions)
    const never = vi.fn()
    const hasty = gate.run({ pool: 'p', deadline: '10s' }, never)
    const error = await failureOf(hasty)
    expect(error).toMatchObject({
      name: 'HeadgateError',
      code: 'DEADLINE_EXCEEDED',
      retryable: true,
      message: expect.stringMatching(
        /^pool p: the wait would be about \d+ ms, the deadline is in (?:10000|9\d{3}) ms$/,
      ),
    })
    // Who comes back then with the same deadline may make it.
    expect(error.retryAfterMs).toBeGreaterThan(HOUR_MS - 60_000)
    expect(error.retryAfterMs).toBeLessThan(HOUR_MS + 60_000)
    expect(never).not.toHaveBeenCalled()
    expect(transitions).not.toHaveBeenCalled()
    expect(gate.stats().pools.p).toMatchObject({ outcomes: { expired: 0 }, states: { 'waiting-for-token': 1 } })
  })

  test('is thrown by trySpawn and spawn alike', async () => {
    await openSpent()
    const chat = { pool: 'p', messages: [{ role: 'user', content: 'hello' }], deadline: 1_000 }
    await expect(gate.spawn(chat)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    expect(() => gate.trySpawn(chat)).toThrow(expect.objectContaining({ code: 'DEADLINE_EXCEEDED' }))
  })

  test('gets the degraded message at once where the pool has one, as it would later; but an error where it asked for that', async () => {
    await openSpent({ degradedMessage: 'busy' })
    const chat = { pool: 'p', messages: [{ role: 'user', content: 'hello' }], deadline: 30_000 }
    const request = await gate.spawn(chat)
    const { status, via, reason, attempts, error, waitedMs } = await request.outcome
    expect({ status, via, reason, attempts }).toEqual({
      status: 'degraded',
      via: 'message',
      reason: 'deadline',
      attempts: 0,
    })
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', message: 'pool p: the deadline can’t be made' })
    expect(error!.retryAfterMs).toBeGreaterThan(HOUR_MS - 60_000)
    expect(waitedMs).toBeLessThan(30_000)
    expect((await gate.complete(chat)).choices[0]!.message.content).toBe('busy')
    await expect(gate.spawn({ ...chat, degrade: false })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    // A function is not answered in words.
    await expect(gate.run({ pool: 'p', deadline: 30_000 }, async () => {})).rejects.toMatchObject({
      message: expect.stringMatching(/^pool p: the wait would be about/),
    })
  })

  test('is not refused when it may be made: another flow may be the next in fair order', async () => {
    await openSpent()
    const request = await gate.spawn({
      pool: 'p',
      messages: [{ role: 'user', content: 'hello' }],
      priority: 'high',
      deadline: 20,
    })
    const { status, error } = await request.outcome
    expect({ status, code: error?.code }).toEqual({ status: 'expired', code: 'DEADLINE_EXCEEDED' })
    // Who comes back when this is over will not have long to wait.
    expect(error?.retryAfterMs).toBeGreaterThan(HOUR_MS / 2)
    // By what the store said last it still waits itself.
    expect(error?.retryAfterMs).toBeLessThan(3 * HOUR_MS + 60_000)
  })

  test('is refused to the first that comes after the window was filled', async () => {
    open(ONCE_AN_HOUR)
    await gate.run({ pool: 'p' }, async () => {})
    await vi.waitFor(() => expect(gate.estimateWait('p')).toBeGreaterThan(HOUR_MS / 2))
    const never = vi.fn()
    const error = await failureOf(gate.run({ pool: 'p', deadline: '10s' }, never))
    expect(error).toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: expect.stringMatching(/^pool p: the wait would be/),
    })
    expect(error.retryAfterMs).toBeGreaterThan(HOUR_MS - 60_000)
    expect(never).not.toHaveBeenCalled()
  })

  test('is refused while the pool cools down for longer, and not for one that is far enough off', async () => {
    open({ limits: { concurrency: 5 }, retry: { maxAttempts: 1 } })
    const failing = gate.run({ pool: 'p' }, async () => {
      throw Object.assign(refused('1303'), { headers: new Headers({ 'retry-after': '60' }) })
    })
    await expect(failing).rejects.toMatchObject({ code: 'RATE_LIMITED' })
    await vi.waitFor(() => expect(gate.stats().pools.p!.coolDownMs).toBeGreaterThan(50_000))
    expect(gate.stats().pools.p!.coolDownMs).toBeLessThanOrEqual(60_001)
    const hasty = gate.run({ pool: 'p', deadline: '5s' }, async () => {})
    const error = await failureOf(hasty)
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    expect(error.retryAfterMs).toBeGreaterThan(45_000)
    expect(error.retryAfterMs).toBeLessThanOrEqual(55_001)
    const patient = gate.run({ pool: 'p', deadline: '5m' }, async () => 'done')
    await gate.resume('p')
    expect(await patient).toBe('done')
  })

  test('a pause may end at any time: until its deadline the request waits', async () => {
    open({})
    await gate.ready()
    await gate.pause('p')
    expect(gate.stats().pools.p!.coolDownMs).toBe(Number.POSITIVE_INFINITY)
    expect(gate.estimateWait('p')).toBe(Number.POSITIVE_INFINITY)
    const expiring = gate.run({ pool: 'p', deadline: 20 }, async () => {})
    await expect(expiring).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', message: 'pool p: the deadline passed' })
    const waiting = gate.run({ pool: 'p', deadline: '1m' }, async () => 'done')
    await gate.resume('p')
    expect(await waiting).toBe('done')
  })

  test('a gate that has just been opened knows nothing yet and refuses nobody', async () => {
    open({})
    expect(await gate.run({ pool: 'p', deadline: '10s' }, async () => 'done')).toBe('done')
  })
})

describe('estimateWait', () => {
  test('is nothing where nobody waits, and grows with those that do', async () => {
    await openSpent()
    const one = gate.estimateWait('p')
    gate.run({ pool: 'p' }, async () => {}).catch(() => {})
    await vi.waitFor(() => expect(gate.estimateWait('p') - one).toBeGreaterThan(HOUR_MS / 2))
  })

  test('is known as soon as an operator’s word was taken', async () => {
    open({ limits: { tokens: { limit: 1_000, per: '1m' } } })
    await gate.ready()
    await gate.pause('p')
    expect(gate.estimateWait('p')).toBe(Number.POSITIVE_INFINITY)
    await gate.resume('p')
    expect(gate.estimateWait('p')).toBe(0)
    await gate.updatePool('p', { tokens: { limit: 500, per: '1m' } })
    // As the limit stands it never fits.
    expect(gate.estimateWait('p', { tokens: 501 })).toBe(Number.POSITIVE_INFINITY)
    expect(gate.estimateWait('p', { tokens: 500 })).toBe(0)
    await gate.updatePool('p', { tokens: { limit: 1_000, per: '1m' } })
    expect(gate.estimateWait('p', { tokens: 501 })).toBe(0)
  })

  test('is as long as LLM tokens are spent, which may come back: nobody is refused for it', async () => {
    open({ limits: { tokens: { limit: 1_000, per: '1h' } } })
    await gate.run({ pool: 'p', estimatedTokens: 1_000 }, async () => {})
    await vi.waitFor(() => expect(gate.estimateWait('p', { tokens: 1 })).toBeGreaterThan(HOUR_MS / 2))
    const hasty = failureOf(gate.run({ pool: 'p', estimatedTokens: 1, deadline: 20 }, async () => {}))
    expect((await hasty).message).toBe('pool p: the deadline passed')
  })

  test('of what no limit allows is an error, as its spawn is', async () => {
    open({ limits: { tokens: { limit: 1_000, per: '1m' } } })
    const message = 'the request costs 1001 of pool:p:tokens:60000, which allows at most 1000'
    const expected = expect.objectContaining({ code: 'BAD_REQUEST', message })
    expect(() => gate.estimateWait('p', { tokens: 1_001 })).toThrow(expected)
    expect(await failureOf(gate.run({ pool: 'p', estimatedTokens: 1_001 }, async () => {}))).toEqual(expected)
  })

  test.each([
    [['nope'], 'pool: expected one of p, got "nope"'],
    [['p', { tokens: -1 }], 'estimatedTokens: expected a whole number ≥ 0, got -1'],
    [['p', { priority: 'urgent' }], `priority: expected 'high', 'normal' or 'low', got "urgent"`],
  ])('%j is BAD_REQUEST', (args, message) => {
    open({})
    const ask = () => gate.estimateWait(...(args as Parameters<Headgate['estimateWait']>))
    expect(ask).toThrow(expect.objectContaining({ code: 'BAD_REQUEST', message }))
  })
})

describe('a closed gate', () => {
  const ways: [string, (closed: Headgate) => Promise<unknown>][] = [
    ['pause', (closed) => closed.pause('p')],
    ['resume', (closed) => closed.resume('p')],
    ['updatePool', (closed) => closed.updatePool('p', { concurrency: 3 })],
    ['usage', (closed) => closed.usage()],
    ['ready', (closed) => closed.ready()],
  ]
  test.each(ways)('%s rejects, for nobody listens any more', async (_, call) => {
    open({ limits: { concurrency: 5 } })
    await gate.close()
    expect(await failureOf(call(gate))).toMatchObject({ code: 'CANCELLED', message: 'the gate is closed' })
  })
})

describe('stats', () => {
  test('name the ceilings that the provider taught, by limit, and no cool-down for it', async () => {
    open({ limits: { concurrency: 8 }, retry: { maxAttempts: 1 } })
    expect(gate.stats().pools.p).toMatchObject({ ceilings: {}, coolDownMs: 0 })
    const held = Array.from({ length: 5 }, () => {
      let release = () => {}
      const started = new Promise<void>((begun) => {
        void gate.run({ pool: 'p' }, () => {
          begun()
          return new Promise<void>((resolve) => {
            release = resolve
          })
        })
      })
      return { started, release: () => release() }
    })
    for (const { started } of held) await started
    const failing = gate.run({ pool: 'p' }, async () => {
      throw refused('1302')
    })
    await expect(failing).rejects.toMatchObject({ code: 'RATE_LIMITED' })
    await vi.waitFor(() => expect(gate.stats().pools.p!.ceilings).toEqual({ 'pool:p:concurrency': 3 }))
    expect(gate.stats().pools.p!.coolDownMs).toBe(0)
    for (const { release } of held) release()
  })

  test('count exchanges and grants', async () => {
    open({})
    for (let i = 0; i < 3; i++) await gate.run({ pool: 'p' }, async () => {})
    const { roundTrips, granted } = gate.stats()
    expect(granted).toBeGreaterThanOrEqual(3)
    expect(roundTrips).toBeGreaterThanOrEqual(1)
  })
})

describe('shadow mode of the gate', () => {
  test('delays nothing, refuses no deadline, and counts what would have waited', async () => {
    open(ONCE_AN_HOUR, { shadow: true })
    const values = await Promise.all(
      [0, 1, 2, 3, 4].map((i) => gate.run({ pool: 'p', deadline: '10s' }, async () => i)),
    )
    expect(values).toEqual([0, 1, 2, 3, 4])
    const { shadow, outcomes } = gate.stats().pools.p!
    expect(shadow).toMatchObject({ requests: 5 })
    expect(outcomes.completed).toBe(5)
  })

  test('without it stats say nothing of it', () => {
    open({})
    expect(gate.stats().pools.p).not.toHaveProperty('shadow')
  })
})
