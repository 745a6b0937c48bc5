import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createHeadgate, type GateOptions, type Headgate, type OutcomeEvent } from '../src/index.js'
import { type Simulator, startSimulator } from '../src/testing/index.js'

const MESSAGES = [{ role: 'user', content: 'hello there' }]
const CHAT = { pool: 'glm', messages: MESSAGES, maxTokens: 3 }
type Pool = Partial<GateOptions['pools'][string]>

/** A pool with a fallback at another provider. */
describe('the degraded chain', () => {
  let glm: Simulator
  let deepseek: Simulator
  let gate: Headgate
  let outcomes: OutcomeEvent[]

  beforeEach(async () => {
    glm = await startSimulator({ profile: 'glm' })
    deepseek = await startSimulator({ profile: 'deepseek' })
    outcomes = []
  })
  afterEach(async () => {
    await gate?.close()
    await Promise.all([glm.close(), deepseek.close()])
  })

  function open(own: Pool = {}, other: Pool = {}, more: Partial<GateOptions> = {}): Headgate {
    const common = { apiKey: 'secret', guardMs: 5, retry: { maxAttempts: 1, baseMs: 1, capMs: 2 } }
    gate = createHeadgate({
      pools: {
        glm: { ...common, provider: 'glm', baseURL: glm.baseURL, fallback: ['deep'], ...own },
        deep: { ...common, provider: 'deepseek', baseURL: deepseek.baseURL, models: ['deepseek-chat'], ...other },
      },
      ...more,
    })
    gate.on('outcome', (event) => outcomes.push(event))
    return gate
  }

  test('attempts run out: the fallback answers, asked for its own model', async () => {
    open({ retry: { maxAttempts: 2, baseMs: 1, capMs: 2 }, degradedMessage: 'busy' })
    glm.failNext('1302', 2)
    const request = await gate.spawn({ ...CHAT, model: 'glm-4-plus' })
    const outcome = await request.outcome
    expect(outcome).toMatchObject({ status: 'degraded', via: 'fallback', reason: 'attempts', httpStatus: 200 })
    expect(outcome.value).toMatchObject({ object: 'chat.completion', model: 'deepseek-chat' })
    expect(outcome.usage.completionTokens).toBe(3)
    // Two at the one, one at the other; and the error that led there.
    expect(outcome).toMatchObject({ attempts: 3, error: { code: 'RATE_LIMITED', providerCode: '1302' } })
    expect(outcomes.map(({ pool, status, via, fallbackFor }) => [pool, status, via, fallbackFor])).toEqual([
      ['deep', 'completed', undefined, request.id],
      ['glm', 'degraded', 'fallback', undefined],
    ])
    expect(gate.stats().pools).toMatchObject({ glm: { active: 0 }, deep: { outcomes: { completed: 1 }, active: 0 } })
  })

  test.each(['1113', '1313', '1308'])(
    '%s pauses the pool; this and the next request go to the fallback',
    async (code) => {
      open()
      glm.failNext(code)
      expect(await gate.complete(CHAT)).toMatchObject({ model: 'deepseek-chat' })
      await gate.usage()
      const next = await (await gate.spawn(CHAT)).outcome
      expect(next).toMatchObject({ status: 'degraded', via: 'fallback', reason: 'refused', attempts: 1 })
      expect([glm.log.length, deepseek.log.length]).toEqual([1, 2])
    },
  )

  test('a hint to stay away for long leads to the fallback at once', async () => {
    const limited = createServer((_, response) => {
      response.writeHead(429, { 'retry-after': '3600' }).end('{"error":{"code":"1303","message":"slow"}}')
    })
    await new Promise<void>((resolve) => limited.listen(0, '127.0.0.1', resolve))
    open({ baseURL: `http://127.0.0.1:${(limited.address() as AddressInfo).port}`, retry: { maxAttempts: 6 } })
    expect(await (await gate.spawn(CHAT)).outcome).toMatchObject({ status: 'degraded', via: 'fallback', attempts: 2 })
    limited.closeAllConnections()
    limited.close()
  })

  test('those who wait already go along when their pool turns out to pause for long', async () => {
    open({ limits: { concurrency: 1 }, adaptive: false })
    glm.failNext('1113')
    const all = await Promise.all([CHAT, CHAT, CHAT].map((chat) => gate.spawn(chat)))
    await all[0]!.outcome
    await gate.usage()
    const last = await gate.spawn(CHAT)
    const statuses = await Promise.all([...all, last].map(async ({ outcome }) => (await outcome).via))
    expect(statuses).toEqual(['fallback', 'fallback', 'fallback', 'fallback'])
    expect(glm.log).toHaveLength(1)
  })

  describe('without anywhere else to go, a pause that is too long', () => {
    const alone = { fallback: [], limits: { concurrency: 1 }, adaptive: false }

    test('is told at once to who comes and to who waits already, with the time to come back', async () => {
      open(alone)
      glm.failNext('1113')
      const all = await Promise.all([CHAT, CHAT, CHAT].map((chat) => gate.spawn(chat)))
      expect(await all[0]!.outcome).toMatchObject({ error: { code: 'INSUFFICIENT_BALANCE', retryAfterMs: 300_000 } })
      const last = await gate.spawn(CHAT)
      for (const { outcome } of [all[1]!, all[2]!, last]) {
        const { status, reason, error, attempts } = await outcome
        expect([status, reason, attempts]).toEqual(['failed', 'refused', 0])
        expect(error).toMatchObject({ code: 'RATE_LIMITED', retryable: true })
        expect(error!.retryAfterMs).toBeGreaterThan(290_000)
      }
      const run = gate.run({ pool: 'glm' }, async () => 1)
      await expect(run).rejects.toMatchObject({ code: 'RATE_LIMITED' })
      expect(glm.log).toHaveLength(1)
    })

    test('leads to the message', async () => {
      open({ ...alone, degradedMessage: 'busy' })
      glm.failNext('1113')
      const all = await Promise.all([CHAT, CHAT, CHAT].map((chat) => gate.spawn(chat)))
      for (const { outcome } of all) expect(await outcome).toMatchObject({ status: 'degraded', via: 'message' })
    })

    test('is told to who would back off for it', async () => {
      const limited = createServer((_, response) => {
        response.writeHead(429, { 'retry-after': '90' }).end('{"error":{"code":"1303","message":"slow"}}')
      })
      await new Promise<void>((resolve) => limited.listen(0, '127.0.0.1', resolve))
      const baseURL = `http://127.0.0.1:${(limited.address() as AddressInfo).port}`
      open({ ...alone, baseURL, retry: { maxAttempts: 6 } })
      const { status, attempts, error } = await (await gate.spawn(CHAT)).outcome
      expect([status, attempts, error!.code]).toEqual(['failed', 1, 'RATE_LIMITED'])
      expect(error!.retryAfterMs).toBeGreaterThan(80_000)
      limited.closeAllConnections()
      limited.close()
    })

    test.each([
      ['who has a deadline that outlasts it', {}, { deadline: '1h' }],
      ['who is told to by maxPause', { maxPause: false as const }, {}],
    ])('is waited out by %s', async (_, own, more) => {
      open({ ...alone, ...own })
      glm.failNext('1113')
      await (await gate.spawn(CHAT)).outcome
      await gate.usage()
      const waits = await gate.spawn({ ...CHAT, ...more })
      await gate.resume('glm')
      expect(await waits.outcome).toMatchObject({ status: 'completed' })
    })

    test('is what maxPause says', async () => {
      open({ ...alone, maxPause: '500ms', retry: { maxAttempts: 1 } })
      glm.failNext('1305')
      await (await gate.spawn(CHAT)).outcome
      await gate.usage()
      expect(await (await gate.spawn(CHAT)).outcome).toMatchObject({ status: 'failed', attempts: 0 })
    })
  })

  test('a deadline that the own pool is sure to miss leads to the fallback, not to a refusal', async () => {
    open({ limits: { concurrency: 5 }, retry: { maxAttempts: 1 } })
    glm.failNext('1305')
    await gate.complete(CHAT)
    await gate.usage()
    const outcome = await (await gate.spawn({ ...CHAT, deadline: 500 })).outcome
    expect(outcome).toMatchObject({ status: 'degraded', via: 'fallback', reason: 'deadline' })
  })

  test('the fallback has limits of its own, and its own retries', async () => {
    open({}, { limits: { concurrency: 1 }, retry: { maxAttempts: 3, baseMs: 1, capMs: 2 } })
    glm.failNext('1302', 4)
    deepseek.failNext('429', 2)
    const answers = await Promise.all([CHAT, CHAT, CHAT, CHAT].map((chat) => gate.complete(chat)))
    expect(new Set(answers.map(({ model }) => model))).toEqual(new Set(['deepseek-chat']))
    expect(deepseek.report().maxInFlight).toBe(1)
    expect(deepseek.log).toHaveLength(6)
  })

  test('the next fallback is asked when one fails, and the message when all do', async () => {
    open({ degradedMessage: 'busy' })
    glm.failNext('1302')
    deepseek.failNext('503')
    const outcome = await (await gate.spawn(CHAT)).outcome
    expect(outcome).toMatchObject({ status: 'degraded', via: 'message', attempts: 2 })
    expect(outcome.error).toMatchObject({ providerCode: '1302' })
    expect(outcomes.map(({ pool, status }) => [pool, status])).toEqual([
      ['deep', 'failed'],
      ['glm', 'degraded'],
    ])
  })

  test('two pools that stand in for each other ask each other once, and never for each other’s places', async () => {
    open({ queue: { maxActive: 1 }, degradedMessage: 'busy' }, { fallback: ['glm'], queue: { maxActive: 1 } })
    glm.failNext('1302', 100)
    deepseek.failNext('500', 100)
    const both = [CHAT, { ...CHAT, pool: 'deep' }]
    const all = await Promise.all(Array.from({ length: 6 }, (_, index) => gate.spawn(both[index % 2]!)))
    const ends = await Promise.all(all.map(async ({ outcome }) => (await outcome).status))
    expect(ends).toEqual(['degraded', 'failed', 'degraded', 'failed', 'degraded', 'failed'])
    expect(glm.log.length + deepseek.log.length).toBe(12)
  })

  test('a fallback whose queue is full is passed over', async () => {
    open({ degradedMessage: 'busy' }, { queue: { maxQueued: 1, maxActive: 1 } })
    deepseek.hangNext()
    const hanging = await gate.spawn({ ...CHAT, pool: 'deep' })
    const queued = await gate.spawn({ ...CHAT, pool: 'deep' })
    glm.failNext('1302')
    expect(await (await gate.spawn(CHAT)).outcome).toMatchObject({ status: 'degraded', via: 'message' })
    hanging.cancel()
    expect(await queued.outcome).toMatchObject({ status: 'completed' })
  })

  test('cancelling reaches the fallback; the deadline goes along', async () => {
    open()
    glm.failNext('1302', 2)
    deepseek.hangNext(2)
    const cancelled = await gate.spawn(CHAT)
    cancelled.actor.subscribe(({ value }) => {
      if (value === 'degraded') setTimeout(() => cancelled.cancel(), 50)
    })
    expect(await cancelled.outcome).toMatchObject({ status: 'cancelled' })
    expect(await (await gate.spawn({ ...CHAT, deadline: 300 })).outcome).toMatchObject({
      status: 'failed',
      error: { code: 'RATE_LIMITED' },
    })
    await expect
      .poll(() => outcomes.filter(({ pool }) => pool === 'deep').map(({ status }) => status))
      .toEqual(['cancelled', 'expired'])
  })

  test('a stream that has not begun comes from the fallback', async () => {
    open()
    glm.failNext('1302')
    const request = await gate.spawn({ ...CHAT, stream: true })
    const models = new Set<string>()
    let text = ''
    for await (const { model, choices } of request.chunks) {
      models.add(model)
      text += choices[0]?.delta.content ?? ''
    }
    expect([...models]).toEqual(['deepseek-chat'])
    expect(text.length).toBeGreaterThan(0)
    expect(await request.outcome).toMatchObject({ status: 'degraded', via: 'fallback', usage: { completionTokens: 3 } })
    expect(await request.stream!.started).toMatchObject({ via: 'fallback', attempts: 2 })
  })

  test('what changed after the request was made does not reach the fallback', async () => {
    open()
    glm.failNext('1302')
    const messages = [...MESSAGES]
    const request = await gate.spawn({ ...CHAT, messages })
    messages.push({ role: 'user', content: 'a long afterthought, '.repeat(50) })
    const { usage } = await request.outcome
    expect(usage.promptTokens).toBeLessThan(20)
  })

  test('embeddings never fall back; a request may refuse to', async () => {
    open({ degradedMessage: 'busy' })
    glm.failNext('1302', 2)
    await expect(gate.complete({ ...CHAT, degrade: false })).rejects.toMatchObject({
      name: 'HeadgateError',
      code: 'RATE_LIMITED',
      providerCode: '1302',
    })
    const embeddings = await gate.spawn({ pool: 'glm', api: 'embeddings', body: { input: 'x' } })
    expect(await embeddings.outcome).toMatchObject({ status: 'failed' })
    expect(deepseek.log).toHaveLength(0)
  })

  test('retries over all requests keep to the budget; beyond it the chain goes on at once', async () => {
    open(
      { retry: { maxAttempts: 6, baseMs: 1, capMs: 2 }, degradedMessage: 'busy', fallback: [] },
      {},
      {
        retryBudget: { ratio: 0.5, minPerSecond: 0 },
      },
    )
    glm.failNext('1302', 1000)
    const all = await Promise.all(Array.from({ length: 10 }, () => gate.spawn(CHAT)))
    const ends = await Promise.all(all.map(({ outcome }) => outcome))
    expect(new Set(ends.map(({ reason }) => reason))).toEqual(new Set(['budget']))
    expect(ends[0]!.error!.message).toContain('retry budget')
    expect(gate.stats().retries).toEqual({ made: 5, overBudget: 10 })
    expect(glm.log).toHaveLength(15)
  })

  test('drained, what was accepted may still go to its fallback', async () => {
    open()
    glm.failNext('1302')
    const request = await gate.spawn(CHAT)
    await gate.drain({ timeout: '10s' })
    expect(await request.outcome).toMatchObject({ status: 'degraded', via: 'fallback' })
  })
})
