import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createHeadgate, type GateOptions, type Headgate } from '../src/index.js'
import { type RedisServer, startRedisServer } from '../src/testing/index.js'

describe('Redis comes and goes', () => {
  let server: RedisServer
  let gate: Headgate
  const states: string[] = []

  beforeEach(async () => {
    server = await startRedisServer()
    states.length = 0
    const limits = { requests: { limit: 1_000, per: '1s' }, concurrency: 2 }
    gate = createHeadgate({ redis: server.url, pools: { p: { provider: 'openai', limits, guardMs: 10 } } })
    gate.on('dispatcher', ({ type, state }) => {
      if (type === 'state') states.push(state)
    })
    await gate.ready()
  })
  afterEach(async () => {
    await gate.close()
    await server.stop()
  })

  const call = () => gate.run({ pool: 'p' }, async () => 'done')

  test('lost: nothing is sent, what waits is served when it is back with its memory gone, once it was told again', async () => {
    expect(await call()).toBe('done')
    // A server that was just started may be one that lost its memory: it listens a moment before it opens.
    expect(states.filter((state) => state !== 'learning')).toEqual(['synced'])
    states.length = 0
    await server.kill('SIGKILL')
    await vi.waitFor(() => expect(gate.sending).toBe(false))
    const waiting = call()
    expect(gate.stats().pools.p!.states).toEqual({ 'waiting-for-token': 1 })
    await server.restart()
    expect(await waiting).toBe('done')
    expect(states).toEqual(['isolated', 'learning', 'synced'])
    expect(gate.sending).toBe(true)
  })

  test('a deadline holds while Redis is away', async () => {
    await server.kill('SIGKILL')
    await vi.waitFor(() => expect(gate.sending).toBe(false))
    await expect(gate.run({ pool: 'p', deadline: 50 }, async () => 'late')).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    })
    await server.restart()
  })
})

describe('what a process may send without Redis', () => {
  let server: RedisServer
  let gate: Headgate

  beforeEach(async () => {
    server = await startRedisServer()
  })
  afterEach(async () => {
    await gate.close()
    await server.stop()
  })

  /** Kills Redis; resolves when the gate has noticed for both its pools. */
  async function cutOff(options: Partial<GateOptions>): Promise<void> {
    const pool = (per: string) => ({ provider: 'openai', limits: { requests: { limit: 10, per } }, guardMs: 10 })
    gate = createHeadgate({ redis: server.url, pools: { short: pool('100ms'), long: pool('1h') }, ...options })
    await gate.ready()
    // It has a share of its own once the store is sure that nobody else may have one.
    await gate.run({ pool: 'short' }, async () => 'sent')
    await server.kill('SIGKILL')
    await vi.waitFor(() => {
      for (const { dispatcher } of Object.values(gate.stats().pools)) expect(dispatcher).toBe('isolated')
    })
  }

  test('in shadow mode is everything', async () => {
    await cutOff({ shadow: true })
    expect(gate.sending).toBe(true)
  })

  test('is what one of its pools may send from its floor, though another sends nothing', {
    timeout: 30_000,
  }, async () => {
    await cutOff({ isolatedMaxMs: '1m' })
    expect(gate.sending).toBe(false)
    expect(await gate.run({ pool: 'short' }, async () => 'sent')).toBe('sent')
    expect(gate.sending).toBe(true)
    expect(gate.stats().pools.long!.dispatcher).toBe('isolated')
  })
})
