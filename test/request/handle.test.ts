import { getEventListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createHeadgate, type GateRequest, type Headgate } from '../../src/index.js'

const CHAT = { pool: 'p', messages: [{ role: 'user', content: 'hello' }] }

describe('what a producer has of its request', () => {
  let gate: Headgate
  beforeEach(async () => {
    gate = createHeadgate({ pools: { p: { provider: 'openai-compatible', baseURL: 'http://127.0.0.1:9' } } })
    await gate.ready()
    await gate.pause('p') // So that nothing is sent.
  })
  afterEach(() => gate.close())

  const ended = (request: GateRequest) =>
    new Promise<void>((resolve) => void request.actor.subscribe({ complete: resolve }))

  test('the outcome is the same whenever it is asked for: before the end, or for the first time after it', async () => {
    const [early, late] = [await gate.spawn(CHAT), await gate.spawn(CHAT)]
    const asked = early.outcome
    const isOver = ended(late)
    early.cancel()
    late.cancel()
    await isOver
    expect(early.outcome).toBe(asked)
    expect(await asked).toMatchObject({ status: 'cancelled', error: { code: 'CANCELLED' } })
    expect(late.outcome).toBe(late.outcome)
    expect(await late.outcome).toMatchObject({ status: 'cancelled', attempts: 0, error: { code: 'CANCELLED' } })
  })

  test('cancel may be passed on by itself', async () => {
    const { cancel, outcome, id } = await gate.spawn(CHAT)
    expect(gate.requests().map((live) => live.id)).toEqual([id])
    cancel()
    expect(await outcome).toMatchObject({ status: 'cancelled' })
    expect(gate.requests()).toEqual([])
  })

  test('its signal is let go of when it is over, asked for its outcome or not', async () => {
    const { signal } = new AbortController()
    const listeners = () => getEventListeners(signal, 'abort').length
    const request = await gate.spawn({ ...CHAT, signal })
    expect(listeners()).toBe(1)
    request.cancel()
    expect(listeners()).toBe(0)
  })
})
