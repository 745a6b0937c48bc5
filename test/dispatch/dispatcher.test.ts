import { describe, expect, test } from 'vitest'
import { MAX_COSTS, MAX_GRANTS } from '../../src/limits/store.js'
import { LEASE_MS } from './fleet.js'
import { fleetOf, granted, HOLD_MS, LONG_LEASE_MS, MINUTE_MS, tokenFleetOf } from './small-fleet.js'

/** News that nobody waits for is gathered for so long. */
const GATHER_MS = 25

describe('exchanges', () => {
  test('one is in flight at a time, and everything that arrives meanwhile is the next batch', async () => {
    const fleet = fleetOf(100, 100)
    const process = await fleet.join()
    const { dispatcher, store } = process
    const ask = (flowKey: string) => process.ask({ flowKey })
    const first = ask('x')
    await fleet.settle()
    const release = store.holdRequests()
    const second = ask('x')
    await fleet.settle()
    const before = store.log.length
    const others = [ask('x'), ask('y')]
    await fleet.settle()
    dispatcher.settle(first.grants[0]!, {})
    others.push(ask('z'))
    await fleet.clock.advanceAsync(1_000)
    expect(store.log).toHaveLength(before)
    expect(granted([second, ...others])).toEqual([0, 0, 0, 0])
    release()
    await fleet.settle()
    expect(store.log).toHaveLength(before + 1)
    expect(store.last.flows.map(({ key, count }) => [key, count])).toEqual([
      ['x', 1],
      ['y', 1],
      ['z', 1],
    ])
    expect(store.last.freed).toEqual([[1, 1]])
    expect(granted([second, ...others])).toEqual([1, 1, 1, 1])
    expect(store.mostInFlight).toBe(1)
    expect(process.news.map(({ type }) => type)).not.toContain('store-error')
  })

  test('what one turn asks for is one batch', async () => {
    const fleet = fleetOf(1_000, 1_000)
    const process = await fleet.join()
    const before = process.store.log.length
    const waits = Array.from({ length: 60 }, () => process.ask())
    await fleet.settle()
    expect(process.store.log).toHaveLength(before + 1)
    expect(granted(waits)).toEqual(Array(60).fill(1))
  })

  test.each([
    ['flows whose every request costs the same', () => fleetOf(10_000, 10_000)],
    ['flows whose costs are told one by one', () => tokenFleetOf(10_000, 10_000)],
  ])('more waiters than a batch may show are all served, in order: %s', async (_, open) => {
    const fleet = open()
    const process = await fleet.join()
    const order: number[] = []
    for (let i = 0; i < 1_000; i++) {
      process.ask({ flowKey: `flow ${i % 3}`, tokens: 1 + (i % 2), onGrant: () => order.push(i) })
    }
    // One exchange gives at most MAX_GRANTS; the next comes a millisecond later.
    await fleet.clock.advanceAsync(10)
    expect(order).toHaveLength(1_000)
    for (let flow = 0; flow < 3; flow++) {
      const ofFlow = order.filter((i) => i % 3 === flow)
      expect(ofFlow).toEqual([...ofFlow].sort((a, b) => a - b))
    }
    expect(process.store.mostInFlight).toBe(1)
    for (const { exchange, reply } of process.store.log) {
      for (const { costs } of exchange.flows) expect(costs.length).toBeLessThanOrEqual(MAX_COSTS)
      expect(reply!.grants.flatMap(([, ...dated]) => dated).length / 2).toBeLessThanOrEqual(MAX_GRANTS)
    }
  })

  test('more flows than a batch may state are all served, with no wait between the batches', async () => {
    const fleet = fleetOf(10_000, 10_000)
    const process = await fleet.join()
    const waits = Array.from({ length: 300 }, (_, i) => process.ask({ flowKey: `flow ${i}` }))
    await fleet.settle()
    expect(granted(waits)).toEqual(Array(300).fill(1))
    const stated = process.store.log.map(({ exchange }) => exchange.flows.length)
    expect(Math.max(...stated)).toBe(128)
    expect(process.store.mostInFlight).toBe(1)
  })

  test('a process with nothing to do never asks', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    process.dispatcher.settle(await process.send(), {})
    await fleet.settle()
    const before = process.store.log.length
    await fleet.clock.advanceAsync(24 * 60 * MINUTE_MS)
    expect(process.store.log).toHaveLength(before)
    expect(fleet.clock.pendingTimers).toBe(0)
  })

  test('a process that only holds calls renews its lease every third of it', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    await process.send()
    const before = process.store.log.length
    const fromMs = fleet.clock.now()
    await fleet.clock.advanceAsync(10 * LEASE_MS)
    const renewals = process.store.log.slice(before)
    expect(renewals.map(({ atMs }) => atMs - fromMs)).toEqual(Array.from({ length: 30 }, (_, i) => (i + 1) * 3_000))
    expect(fleet.used[1]).toBe(1)
  })
})

describe('asking again', () => {
  test('at the instant that the store computed and not before: the grant comes ahead of its date', async () => {
    const fleet = fleetOf(2, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    const waits = [1, 2, 3].map(() => process.ask())
    await fleet.settle()
    for (const { grants } of waits.slice(0, 2)) process.dispatcher.settle(grants[0]!, {})
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 1, 0])
    const before = process.store.log.length
    const fromMs = fleet.clock.now()
    const { retryAtMs } = process.store.log.at(-1)!.reply!
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(granted(waits)).toEqual([1, 1, 1])
    const after = process.store.log.slice(before).filter(({ atMs }) => atMs <= waits[2]!.grantedAtMs)
    expect(after).toHaveLength(1)
    expect(after[0]!.atMs).toBeGreaterThanOrEqual(retryAtMs)
    expect(after[0]!.atMs).toBeLessThan(waits[2]!.grantedAtMs)
    const { notBeforeMs } = waits[2]!.grants[0]!
    expect(notBeforeMs).toBeGreaterThan(fromMs + MINUTE_MS + HOLD_MS)
    expect(waits[2]!.grantedAtMs).toBeGreaterThanOrEqual(notBeforeMs)
    expect(waits[2]!.grantedAtMs).toBeLessThan(notBeforeMs + 2)
  })

  test('meanwhile only the lease is renewed, every third of it', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join()
    process.dispatcher.settle(await process.send(), {})
    const wait = process.ask()
    await fleet.settle()
    const { retryAtMs } = process.store.log.at(-1)!.reply!
    const before = process.store.log.length
    const fromMs = fleet.clock.now()
    await fleet.clock.advanceAsync(retryAtMs - fromMs)
    const renewals = process.store.log.slice(before)
    expect(renewals.map(({ atMs }) => atMs - fromMs)).toEqual(renewals.map((_, i) => (i + 1) * 3_000))
    expect(renewals).toHaveLength(Math.floor((retryAtMs - fromMs) / 3_000))
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(1_000)
    expect(wait.grants).toHaveLength(1)
    const asked = process.store.log.slice(before).filter(({ atMs }) => atMs <= wait.grantedAtMs)
    expect(asked).toHaveLength(renewals.length + 1)
  })

  test('not for one who withdrew: that is told once, and then nothing is left to ask', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    process.dispatcher.settle(await process.send(), {})
    const wait = process.ask()
    await fleet.settle()
    process.dispatcher.withdraw(wait.request)
    const before = process.store.log.length
    await fleet.clock.advanceAsync(GATHER_MS)
    expect(process.store.log).toHaveLength(before + 1)
    expect(process.store.last.flows).toMatchObject([{ count: 0 }])
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(process.store.log).toHaveLength(before + 1)
    expect(fleet.clock.pendingTimers).toBe(0)
  })

  test('newcomers to a flow that waits already are told of together', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    await process.send()
    process.ask()
    await fleet.settle()
    const before = process.store.log.length
    for (let i = 0; i < 24; i++) {
      process.ask()
      await fleet.clock.advanceAsync(1)
    }
    expect(process.store.log).toHaveLength(before)
    await fleet.clock.advanceAsync(1)
    expect(process.store.log).toHaveLength(before + 1)
    expect(process.store.last.flows).toMatchObject([{ count: 25 }])
  })

  test('the first of another flow is told of at once', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    await process.send()
    process.ask()
    await fleet.settle()
    const before = process.store.log.length
    process.ask({ flowKey: 'another' })
    await fleet.settle()
    expect(process.store.log).toHaveLength(before + 1)
  })

  test('a waiter of another pool is not held up by 200 flows that a paused pool keeps back', async () => {
    const fleet = fleetOf(1_000, 1_000)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    await process.dispatcher.control({ type: 'pause', pool: 'p0' })
    const paused = Array.from({ length: 200 }, (_, i) => process.ask({ flowKey: `paused ${i}` }))
    await fleet.settle()
    const waits = [1, 2, 3].map(() => process.ask({ pool: 1, flowKey: 'free' }))
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 1, 1])
    await process.dispatcher.control({ type: 'resume', pool: 'p0' })
    await fleet.settle()
    expect(granted(paused)).toEqual(Array(200).fill(1))
  })
})
