import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { TransitionEvent } from '../src/events.js'
import type { Headgate } from '../src/gate.js'
import { createHeadgate, type GateOptions } from '../src/index.js'
import { type Simulator, startSimulator } from '../src/testing/index.js'

const MESSAGES = [{ role: 'user', content: 'hello there' }]

describe('the gate against a provider', () => {
  let simulator: Simulator
  let gate: Headgate
  const transitions: TransitionEvent[] = []

  beforeEach(async () => {
    simulator = await startSimulator({ profile: 'glm' })
    transitions.length = 0
  })
  afterEach(async () => {
    await gate?.close()
    await simulator.close()
  })

  function open(pool: Partial<GateOptions['pools'][string]> = {}, more: Partial<GateOptions> = {}): Headgate {
    const base = { provider: 'glm', apiKey: 'secret', baseURL: simulator.baseURL, retry: { baseMs: 1, capMs: 2 } }
    gate = createHeadgate({ pools: { glm: { ...base, guardMs: 5, ...pool } }, ...more })
    gate.on('transition', (event) => transitions.push(event))
    return gate
  }
  /** A machine under load may let a grant go void before its first connection stands: then it is granted again. */
  const withoutVoids = () =>
    transitions.filter(({ event }, index) => event !== 'TOKEN_VOID' && transitions[index + 1]?.event !== 'TOKEN_VOID')
  const path = () => withoutVoids().map(({ to }) => to)

  test('a request goes from producer to provider and back', async () => {
    open()
    await gate.ready()
    const request = await gate.spawn({ pool: 'glm', messages: MESSAGES, maxTokens: 3 })
    const outcome = await request.outcome
    expect(outcome).toMatchObject({ status: 'completed', attempts: 1, usage: { totalTokens: 7, completionTokens: 3 } })
    expect(outcome.value).toMatchObject({ object: 'chat.completion', model: 'glm' })
    expect(withoutVoids().map(({ from, to, event, attempt }) => [from, to, event, attempt])).toEqual([
      [null, 'queued', 'xstate.init', 0],
      ['queued', 'waiting-for-token', 'ADMITTED', 0],
      ['waiting-for-token', 'calling', 'TOKEN_GRANTED', 1],
      ['calling', 'done', 'CALL_COMPLETED', 1],
    ])
    expect(request.state).toBe('done')
    expect(gate.stats().pools.glm).toMatchObject({ outcomes: { completed: 1 }, queued: 0, states: {} })
  })

  test('a refusal is retried through the dispatcher, with the grant given back meanwhile', async () => {
    open()
    simulator.failNext('1302')
    const request = await gate.spawn({ pool: 'glm', messages: MESSAGES })
    expect(await request.outcome).toMatchObject({ status: 'completed', attempts: 2 })
    expect(path()).toEqual([
      'queued',
      'waiting-for-token',
      'calling',
      'backing-off',
      'waiting-for-token',
      'calling',
      'done',
    ])
    expect(gate.stats().pools.glm!.provider429).toEqual({ '1302': 1 })
  })

  test('attempts run out: degraded with the message', async () => {
    const message = '抱歉,系统繁忙,请稍后重试。'
    open({ retry: { maxAttempts: 2, baseMs: 1, capMs: 2 }, degradedMessage: message })
    simulator.failNext('1302', 2)
    const outcome = await (await gate.spawn({ pool: 'glm', messages: MESSAGES })).outcome
    expect(outcome).toMatchObject({ status: 'degraded', via: 'message', reason: 'attempts', attempts: 2 })
    expect(outcome.value).toMatchObject({ choices: [{ message: { content: message } }] })
    expect(outcome.error).toMatchObject({ code: 'RATE_LIMITED', providerCode: '1302', status: 429 })
  })

  test('with nothing to degrade to it failed, with the error that ended it', async () => {
    open({ retry: { maxAttempts: 1 } })
    simulator.failNext('1302')
    await expect(gate.complete({ pool: 'glm', messages: MESSAGES })).rejects.toMatchObject({
      code: 'RATE_LIMITED',
      retryable: true,
    })
  })

  test.each([
    ['1000', 'AUTH'],
    ['1214', 'BAD_REQUEST'],
    ['1301', 'CONTENT_FILTERED'],
    ['1261', 'CONTEXT_TOO_LONG'],
  ])('what no retry can mend (%s) ends at once as %s', async (code, expected) => {
    open({ degradedMessage: 'busy' })
    simulator.failNext(code)
    const outcome = await (await gate.spawn({ pool: 'glm', messages: MESSAGES })).outcome
    expect(outcome).toMatchObject({ status: 'failed', attempts: 1, error: { code: expected } })
    expect(path().slice(-2)).toEqual(['calling', 'done'])
  })

  test.each(['1113', '1313'])('%s is not retried, pauses the pool and degrades', async (code) => {
    open({ degradedMessage: 'busy' })
    simulator.failNext(code)
    const first = await (await gate.spawn({ pool: 'glm', messages: MESSAGES })).outcome
    expect(first).toMatchObject({ status: 'degraded', attempts: 1, reason: 'refused' })
    const second = await gate.spawn({ pool: 'glm', messages: MESSAGES })
    const patient = await gate.spawn({ pool: 'glm', messages: MESSAGES, deadline: '1h' })
    const [usage] = await gate.usage()
    expect(usage!.pausedUntilMs.glm! - usage!.nowMs).toBeGreaterThan(200_000)
    expect(simulator.log).toHaveLength(1)
    expect(await second.outcome).toMatchObject({ status: 'degraded', attempts: 0, reason: 'refused' })
    await gate.resume('glm')
    expect(await patient.outcome).toMatchObject({ status: 'completed' })
  })

  test('a deadline cuts a hanging call; with nothing to degrade to it expired', async () => {
    open()
    simulator.hangNext()
    const outcome = await (await gate.spawn({ pool: 'glm', messages: MESSAGES, deadline: 50 })).outcome
    expect(outcome).toMatchObject({ status: 'expired', reason: 'deadline', error: { code: 'DEADLINE_EXCEEDED' } })
    expect(path().slice(-3)).toEqual(['calling', 'degraded', 'done'])
  })

  test('a cut call gives its slot back guardMs after its socket closed', async () => {
    open({ limits: { concurrency: 1 } })
    simulator.hangNext()
    const hung = await gate.spawn({ pool: 'glm', messages: MESSAGES })
    await vi.waitFor(() => expect(simulator.log).toHaveLength(1))
    const next = await gate.spawn({ pool: 'glm', messages: MESSAGES })
    hung.cancel()
    expect(await hung.outcome).toMatchObject({ status: 'cancelled', error: { code: 'CANCELLED' } })
    expect(await next.outcome).toMatchObject({ status: 'completed' })
    expect(simulator.report().maxInFlight).toBe(1)
  })

  test('a call cut in the middle is retried', async () => {
    open()
    simulator.cutNext()
    expect(await (await gate.spawn({ pool: 'glm', messages: MESSAGES })).outcome).toMatchObject({
      status: 'completed',
      attempts: 2,
    })
  })

  test('run governs any function: value back, status classified, an unknown error not retried', async () => {
    open()
    const attempts: number[] = []
    const value = await gate.run({ pool: 'glm', estimatedTokens: 10 }, async ({ attempt, signal }) => {
      attempts.push(attempt)
      expect(signal.aborted).toBe(false)
      if (attempt === 1) throw Object.assign(new Error('busy'), { status: 429, error: { code: '1302', message: 'x' } })
      return 42
    })
    expect(value).toBe(42)
    expect(attempts).toEqual([1, 2])
    const own = new TypeError('mine')
    let calls = 0
    const failing = gate.run({ pool: 'glm' }, async () => {
      calls++
      throw own
    })
    await expect(failing).rejects.toMatchObject({ code: 'PROVIDER_ERROR', cause: own })
    expect(calls).toBe(1)
  })

  test('run settles with the usage that the function reports', async () => {
    open({ limits: { tokens: { limit: 1000, per: '1h' } } })
    await gate.run({ pool: 'glm', estimatedTokens: 100 }, async ({ reportUsage }) => {
      reportUsage({ promptTokens: 7, completionTokens: 5 })
    })
    await vi.waitFor(async () => expect((await gate.usage())[0]!.limits[0]).toMatchObject({ used: 12 }))
  })

  test('run knows the errors of the AI SDK', async () => {
    open()
    const thrown = Object.assign(new Error('busy'), {
      statusCode: 429,
      responseHeaders: { 'Retry-After': '1' },
      responseBody: '{"error":{"code":"1113","message":"no balance"}}',
    })
    const failing = gate.run({ pool: 'glm' }, async () => {
      throw thrown
    })
    await expect(failing).rejects.toMatchObject({ code: 'INSUFFICIENT_BALANCE', providerCode: '1113', cause: thrown })
  })

  test.each([
    Object.create(null),
    {
      get status(): number {
        throw new Error('no')
      },
    },
    Proxy.revocable({}, {}).proxy,
    'text',
    undefined,
  ])('whatever a function throws (%#), the request ends and nothing else does', async (thrown) => {
    open()
    const failing = gate.run({ pool: 'glm' }, async () => {
      throw thrown
    })
    await expect(failing).rejects.toMatchObject({ name: 'HeadgateError', code: 'PROVIDER_ERROR' })
    expect(await gate.run({ pool: 'glm' }, async () => 'next')).toBe('next')
  })

  test('a function that outlives its deadline keeps its slot until it ends', async () => {
    open({ limits: { concurrency: 1 } })
    let finish = () => {}
    let running = 0
    const slow = gate.run({ pool: 'glm', deadline: 20 }, async () => {
      running++
      await new Promise<void>((resolve) => {
        finish = resolve
      })
      running--
    })
    await expect(slow).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    const next = gate.run({ pool: 'glm' }, async () => running)
    expect(gate.stats().pools.glm!.states).toEqual({ 'waiting-for-token': 1 })
    finish()
    expect(await next).toBe(0)
  })

  test('a listener that throws disturbs no request, and the state is told only when it changes', async () => {
    open()
    const states: string[] = []
    gate.on('dispatcher', ({ type, state }) => type === 'state' && states.push(state))
    const warned = new Promise<Error>((resolve) => process.once('warning', resolve))
    const off = gate.on('transition', () => {
      throw new Error('mine')
    })
    await gate.complete({ pool: 'glm', messages: MESSAGES })
    off()
    await gate.complete({ pool: 'glm', messages: MESSAGES })
    expect((await warned).message).toBe('mine')
    expect(states.length).toBe(new Set(states).size)
  })

  test('what is no input at all is BAD_REQUEST too; a closed gate is not ready', async () => {
    open()
    await expect(gate.complete(undefined as never)).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    await expect(gate.run({ pool: 'glm' }, undefined as never)).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    const circular = { pool: 'glm', messages: MESSAGES, body: {} as Record<string, unknown> }
    circular.body.self = circular
    await expect(gate.spawn(circular)).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    await gate.close()
    await expect(gate.ready()).rejects.toMatchObject({ code: 'CANCELLED' })
  })

  test('trySpawn answers at once', async () => {
    open({ limits: { concurrency: 1 } }, { queue: { maxQueued: 1, maxActive: 1 } })
    simulator.hangNext(3)
    const inputs = Array.from({ length: 4 }, () => gate.trySpawn({ pool: 'glm', messages: MESSAGES }))
    expect(inputs.map((request) => request?.state)).toEqual(['waiting-for-token', 'queued', undefined, undefined])
  })

  test('trySpawn refuses a signal that fired before: it would never fire again', () => {
    open()
    const input = { pool: 'glm', messages: MESSAGES, signal: AbortSignal.abort() }
    expect(() => gate.trySpawn(input)).toThrow(expect.objectContaining({ code: 'CANCELLED' }))
    expect(gate.stats().pools.glm).toMatchObject({ queued: 0, active: 0 })
  })

  test('drain finishes what was accepted and accepts nothing new; close is idempotent', async () => {
    open()
    const requests = await Promise.all([1, 2, 3].map(() => gate.spawn({ pool: 'glm', messages: MESSAGES })))
    await gate.drain({ timeout: '5s' })
    for (const request of requests) expect(request.state).toBe('done')
    await expect(gate.spawn({ pool: 'glm', messages: MESSAGES })).rejects.toMatchObject({ code: 'CANCELLED' })
    await Promise.all([gate.close(), gate.close()])
  })

  test('updatePool, pause and resume act at once', async () => {
    open({ limits: { requests: { limit: 1, per: '1h' } } })
    await gate.complete({ pool: 'glm', messages: MESSAGES })
    const second = await gate.spawn({ pool: 'glm', messages: MESSAGES })
    await gate.updatePool('glm', { requests: { limit: 2, per: '1h' } })
    expect(await second.outcome).toMatchObject({ status: 'completed' })
    await expect(gate.updatePool('glm', { requests: { limit: 2, per: '1m' } })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    })
  })

  test.each([
    [{ pool: 'nope', messages: MESSAGES }, 'pool: expected one of glm, got "nope"'],
    [{ pool: 'glm', messages: [] }, 'messages: expected a non-empty array, got an array of 0'],
    [
      { pool: 'glm', messages: MESSAGES, priority: 'urgent' },
      `priority: expected 'high', 'normal' or 'low', got "urgent"`,
    ],
    [
      { pool: 'glm', messages: MESSAGES, deadline: 'soon' },
      `deadline: expected ms (a number) or a duration such as '30s', got "soon"`,
    ],
    [{ pool: 'glm', messages: MESSAGES, maxTokens: 0 }, 'maxTokens: expected a whole number ≥ 1, got 0'],
    [
      { pool: 'glm', messages: MESSAGES, estimatedTokens: 101 },
      'the request costs 101 of pool:glm:tokens:60000, which allows at most 100',
    ],
  ])('bad input %# is refused at once and says why', async (input, message) => {
    open({ limits: { tokens: { limit: 100, per: '1m' } } })
    await expect(gate.spawn(input as never)).rejects.toMatchObject({ code: 'BAD_REQUEST', message })
  })
})
