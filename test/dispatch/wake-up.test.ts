import { describe, expect, test } from 'vitest'
import { CLAIM_MS } from '../../src/limits/store.js'
import { fleetOf, granted, LONG_LEASE_MS, slotFleetOf } from './small-fleet.js'

/** A lost wake-up is healed within this. */
const HEAL_MS = 750
const OPTIONS = { leaseMs: LONG_LEASE_MS }

describe('waking up', () => {
  test('a slot freed by one process goes to the other at once, with one wake-up and without a timer', async () => {
    const fleet = fleetOf(100, 1)
    const [a, b, idle] = [await fleet.join(OPTIONS), await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    const held = await a.send()
    const waits = [b.ask(), b.ask()]
    await fleet.clock.advanceAsync(HEAL_MS / 2)
    const before = b.store.log.length
    a.dispatcher.settle(held, {})
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 0])
    expect(b.store.log).toHaveLength(before + 1)
    expect([a.store.wakes, b.store.wakes, idle.store.wakes]).toEqual([0, 1, 0])
    expect(fleet.used).toEqual([2, 1])
  })

  test('mail of several grants is one wake-up', async () => {
    const fleet = slotFleetOf(4)
    const [a, b] = [await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    const held = [await a.send(), await a.send(), await a.send(), await a.send()]
    const waits = Array.from({ length: 6 }, (_, i) => b.ask({ flowKey: `flow ${i % 2}` }))
    await fleet.clock.advanceAsync(HEAL_MS / 2)
    for (const grant of held) a.dispatcher.settle(grant, {})
    await fleet.settle()
    expect(granted(waits).filter((count) => count === 1)).toHaveLength(4)
    expect(b.store.wakes).toBe(1)
    expect(fleet.used).toEqual([4])
  })

  test('a lost wake-up is healed by the timer', async () => {
    const fleet = fleetOf(100, 1)
    const [a, b] = [await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    const held = await a.send()
    const wait = b.ask()
    await fleet.settle()
    b.store.deaf = true
    const freedMs = fleet.clock.now()
    a.dispatcher.settle(held, {})
    await fleet.clock.advanceAsync(2 * HEAL_MS)
    expect(wait.grants).toHaveLength(1)
    expect(wait.grantedAtMs).toBeLessThanOrEqual(freedMs + HEAL_MS)
    expect(fleet.used).toEqual([1 + 1, 1])
  })

  test('mail that is not fetched goes to the next in line, and its process states again what waits', async () => {
    const fleet = slotFleetOf(1)
    const [a, stuck, b] = [await fleet.join(), await fleet.join(), await fleet.join()]
    const held = await a.send()
    const first = stuck.ask()
    await fleet.settle()
    const second = b.ask()
    await fleet.settle()
    stuck.clock.stop()
    a.dispatcher.settle(held, {})
    await fleet.clock.advanceAsync(CLAIM_MS - 1)
    expect(granted([first, second])).toEqual([0, 0])
    await fleet.clock.advanceAsync(2 * HEAL_MS)
    expect(granted([first, second])).toEqual([0, 1])
    stuck.clock.resume()
    await fleet.settle()
    b.dispatcher.settle(second.grants[0]!, {})
    await fleet.settle()
    expect(granted([first, second])).toEqual([1, 1])
    expect(fleet.used).toEqual([1])
  })

  test.each([
    ['a pause that ends', { type: 'resume', pool: 'p0' } as const],
    ['a limit that rises', { type: 'limit', id: 'requests', base: 100, limit: 200 } as const],
  ])('%s is heard of by all', async (_, change) => {
    const fleet = fleetOf(100, 10)
    const processes = [await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    await processes[0]!.dispatcher.control({ type: 'pause', pool: 'p0' })
    await fleet.settle()
    const waits = processes.map((process) => process.ask())
    await fleet.settle()
    expect(granted(waits)).toEqual([0, 0])
    const wakes = processes.map(({ store }) => store.wakes)
    await processes[0]!.dispatcher.control(change)
    await fleet.settle()
    for (const [i, { store }] of processes.entries()) expect(store.wakes).toBeGreaterThan(wakes[i]!)
    expect(granted(waits)).toEqual(change.type === 'resume' ? [1, 1] : [0, 0])
  })

  test('a limit that stands otherwise than it is configured is news, once, to all but who said it', async () => {
    const fleet = fleetOf(100, 10)
    const [a, b] = [await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    const move = async (limit: number) => {
      await a.dispatcher.control({ type: 'limit', id: 'requests', base: 100, limit })
      await fleet.settle()
      a.dispatcher.settle(await a.send(), {})
      b.dispatcher.settle(await b.send(), {})
      await fleet.settle()
    }
    await move(50)
    await move(50)
    await move(70)
    await move(100)
    const told = b.newsOf('limit-differs').map(({ limit }) => limit)
    expect(told).toEqual([50, 70].map((moved) => ({ id: 'requests', here: 100, fleet: moved })))
    expect(a.newsOf('limit-differs')).toEqual([])
  })

  test('a process that keeps other limits is warned of once, and counted while it is there', async () => {
    const fleet = fleetOf(100, 10)
    const [a, b] = [await fleet.join({ ...OPTIONS, kind: 'aa' }), await fleet.join({ ...OPTIONS, kind: 'aa' })]
    const other = await fleet.join({ ...OPTIONS, kind: 'bb' })
    for (const process of [a, b, other, a, b]) process.dispatcher.settle(await process.send(), {})
    await fleet.settle()
    const warned = [a, b, other].map((process) => process.newsOf('config-differs').map(({ others }) => others))
    expect(warned).toEqual([[1], [1], [2]])
    expect([a, b, other].map(({ dispatcher }) => dispatcher.known.others)).toEqual([1, 1, 2])
  })

  test('a cool-down that one process reports is known to all at once', async () => {
    const fleet = fleetOf(100, 10)
    const [a, b] = [await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    a.dispatcher.settle(await a.send(), { coolDownMs: 5_000 })
    await fleet.settle()
    // The store's clock reads whole ms: up to one more.
    const leftMs = b.dispatcher.outlook.coolDownMs(0)
    expect(leftMs).toBeGreaterThanOrEqual(5_000)
    expect(leftMs).toBeLessThanOrEqual(5_001)
    await fleet.clock.advanceAsync(2_000)
    expect(Math.round(b.dispatcher.outlook.coolDownMs(0))).toBe(leftMs - 2_000)
    expect(b.dispatcher.outlook.coolDownMs(1)).toBe(0)
  })
})
