import { afterEach, describe, expect, test, vi } from 'vitest'
import type { RequestState } from '../../machines/vocabulary.js'
import { createHeadgate, type Headgate } from '../../src/index.js'

/** Functions under the gate's control that end when the test says so, in the order in which they were started. */
class Calls {
  readonly started: number[] = []
  readonly #open: (() => void)[] = []
  #wake: () => void = () => {}

  start(index: number): Promise<number> {
    this.started.push(index)
    return new Promise((resolve) => {
      this.#open.push(() => resolve(index))
      this.#wake()
    })
  }

  /** Ends the one that was started first of those that run, as soon as there is one. */
  async finishNext(): Promise<void> {
    if (this.#open.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#open.shift()!()
  }
}

describe('backpressure of the whole gate', () => {
  let gate: Headgate
  afterEach(() => gate.close())

  function open(): Headgate {
    const pool = { provider: 'openai-compatible', baseURL: 'http://127.0.0.1:9', models: ['m'] }
    gate = createHeadgate({ pools: { a: pool, b: pool }, queue: { maxQueued: 10, maxActive: 4 } })
    return gate
  }

  test('1,000 producers, 10 places: never an 11th request in state queued, and all are served in order', async () => {
    open()
    const states = new Map<string, RequestState>()
    const queued = () => [...states.values()].filter((state) => state === 'queued').length
    let mostQueued = 0
    const late: unknown[] = []
    const accepted: string[] = []
    const admitted: string[] = []
    gate.on('transition', ({ requestId, from, to, event }) => {
      if (from === null) accepted.push(requestId)
      if (event === 'ADMITTED') admitted.push(requestId)
      if ((states.get(requestId) ?? null) !== from) late.push([requestId, from, to])
      if (to === 'done') states.delete(requestId)
      else states.set(requestId, to)
      mostQueued = Math.max(mostQueued, queued(), gate.stats().pools.a!.queued)
    })
    const calls = new Calls()
    const results = Array.from({ length: 1_000 }, (_, i) => gate.run({ pool: 'a' }, () => calls.start(i)))
    expect(gate.stats().pools.a).toMatchObject({ queued: 10, active: 4, atGate: 986 })
    for (let i = 0; i < 1_000; i++) await calls.finishNext()
    expect(await Promise.all(results)).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
    // The calls themselves may start in another order: a grant that a stalled event loop let go void comes again.
    expect(calls.started).toHaveLength(1_000)
    expect(admitted).toEqual(accepted)
    expect(mostQueued).toBe(10)
    expect(late).toEqual([])
    expect(gate.stats().pools.a).toMatchObject({ queued: 0, atGate: 0, states: {}, outcomes: { completed: 1_000 } })
  })

  test('a pool that is full, or paused, holds up no other', async () => {
    open()
    await gate.pause('a')
    const stuck = Array.from({ length: 50 }, () => gate.run({ pool: 'a' }, async () => 'a'))
    expect(gate.stats().pools.a).toMatchObject({ queued: 10, active: 4, atGate: 36 })
    const others = Array.from({ length: 50 }, () => gate.run({ pool: 'b' }, async () => 'b'))
    expect(await Promise.all(others)).toEqual(Array(50).fill('b'))
    expect(gate.stats().pools.a).toMatchObject({ queued: 10, active: 4, atGate: 36 })
    await gate.resume('a')
    expect(await Promise.all(stuck)).toEqual(Array(50).fill('a'))
  })

  test('drain turns the gate away with CANCELLED and finishes those that have a place', async () => {
    open()
    const calls = new Calls()
    const results = Array.from({ length: 20 }, (_, i) => gate.run({ pool: 'a' }, () => calls.start(i)))
    const settled = Promise.allSettled(results)
    const drained = gate.drain({ timeout: '30s' })
    for (let i = 0; i < 14; i++) await calls.finishNext()
    await drained
    const ends = await settled
    expect(ends.slice(0, 14).map((end) => end.status === 'fulfilled' && end.value)).toEqual([...Array(14).keys()])
    for (const end of ends.slice(14)) expect(end).toMatchObject({ reason: { code: 'CANCELLED' } })
  })

  test('cancelled while queued a request is done at once, and its place is the next one’s', async () => {
    open()
    const calls = new Calls()
    const running = Array.from({ length: 4 }, (_, i) => gate.run({ pool: 'a' }, () => calls.start(i)))
    const abort = new AbortController()
    const cancelled = gate.run({ pool: 'a', signal: abort.signal }, () => calls.start(99))
    const others = Array.from({ length: 10 }, (_, i) => gate.run({ pool: 'a' }, () => calls.start(4 + i)))
    const ended = expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(gate.stats().pools.a).toMatchObject({ queued: 10, atGate: 1 })
    abort.abort()
    expect(gate.stats().pools.a).toMatchObject({ queued: 10, atGate: 0 })
    await ended
    for (let i = 0; i < 14; i++) await calls.finishNext()
    await Promise.all([...running, ...others])
    expect(calls.started).toEqual([...Array(14).keys()])
  })

  test('under a signal that is aborted already nothing is accepted', async () => {
    open()
    const chat = { pool: 'a', messages: [{ role: 'user', content: 'hello' }], signal: AbortSignal.abort() }
    await expect(gate.spawn(chat)).rejects.toMatchObject({ code: 'CANCELLED' })
    expect(() => gate.trySpawn(chat)).toThrow(expect.objectContaining({ code: 'CANCELLED' }))
    expect(gate.stats().pools.a).toMatchObject({ active: 0, queued: 0, states: {} })
  })

  test('cancelling what is done has no effect and says nothing', async () => {
    open()
    const warn = vi.spyOn(console, 'warn')
    const messages = [{ role: 'user', content: 'hello' }]
    const request = gate.trySpawn({ pool: 'a', messages })!
    request.cancel()
    request.cancel()
    expect(await request.outcome).toMatchObject({ status: 'cancelled' })
    request.cancel()
    expect(warn).not.toHaveBeenCalled()
    warn.mockRestore()
  })
})
