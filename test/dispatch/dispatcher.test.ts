import { describe, expect, test } from 'vitest'
import { fleetOf, granted, LONG_LEASE_MS, MINUTE_MS, ONE } from './small-fleet.js'

describe('exchanges', () => {
  test('one is in flight at a time, and everything that arrives meanwhile is the next batch', async () => {
    const fleet = fleetOf(100, 100)
    const { dispatcher, store, ...a } = await fleet.join()
    const ask = (flowKey: string) => fleet.processes[0]!.ask(ONE, { flowKey })
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
    expect(store.last.waiters).toHaveLength(3)
    expect(store.last.settlements).toHaveLength(1)
    expect(granted([second, ...others])).toEqual([1, 1, 1, 1])
    expect(store.mostInFlight).toBe(1)
    expect(a.news.map(({ type }) => type)).not.toContain('store-error')
  })

  test('what one turn asks for is one batch', async () => {
    const fleet = fleetOf(1_000, 1_000)
    const { store } = await fleet.join()
    const before = store.log.length
    const waits = Array.from({ length: 60 }, () => fleet.processes[0]!.ask(ONE))
    await fleet.settle()
    expect(store.log).toHaveLength(before + 1)
    expect(granted(waits)).toEqual(Array(60).fill(1))
  })

  test('more waiters than a batch may show are all served, flow by flow in order', async () => {
    const fleet = fleetOf(10_000, 10_000)
    const process = await fleet.join()
    const order: number[] = []
    for (let i = 0; i < 1_000; i++) process.ask(ONE, { flowKey: `flow ${i % 3}`, onGrant: () => order.push(i) })
    await fleet.settle()
    expect(order).toHaveLength(1_000)
    for (let flow = 0; flow < 3; flow++) {
      const ofFlow = order.filter((i) => i % 3 === flow)
      expect(ofFlow).toEqual([...ofFlow].sort((a, b) => a - b))
    }
    expect(process.store.mostInFlight).toBe(1)
    expect(Math.max(...process.store.log.map(({ exchange }) => exchange.waiters.length))).toBeLessThanOrEqual(128)
  })

  test('a process with nothing to do never asks', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const grant = await process.send(fleet, ONE)
    process.dispatcher.settle(grant, {})
    await fleet.settle()
    const before = process.store.log.length
    await fleet.clock.advanceAsync(24 * 60 * MINUTE_MS)
    expect(process.store.log).toHaveLength(before)
    expect(fleet.clock.pendingTimers).toBe(0)
  })
})

describe('waking up', () => {
  test('a refused waiter is asked for again at the computed instant and not before', async () => {
    const fleet = fleetOf(2, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    const waits = [1, 2, 3].map(() => process.ask(ONE))
    await fleet.settle()
    for (const { grants } of waits.slice(0, 2)) process.dispatcher.settle(grants[0]!, {})
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 1, 0])
    const before = process.store.log.length
    const { retryAtMs } = process.store.log.at(-1)!.reply!
    expect(retryAtMs).toBeGreaterThan(fleet.clock.now() + MINUTE_MS)
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(granted(waits)).toEqual([1, 1, 1])
    const after = process.store.log.slice(before)
    expect(after).toHaveLength(1)
    expect(after[0]!.atMs).toBeGreaterThanOrEqual(retryAtMs)
  })

  test('meanwhile only the lease is renewed, every third of it', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join({ leaseMs: 9_000 })
    process.dispatcher.settle(await process.send(fleet, ONE), {})
    const wait = process.ask(ONE)
    await fleet.settle()
    const { retryAtMs } = process.store.log.at(-1)!.reply!
    const before = process.store.log.length
    const fromMs = fleet.clock.now()
    await fleet.clock.advanceAsync(retryAtMs - fromMs)
    const renewals = process.store.log.slice(before)
    expect(renewals.map(({ atMs }) => atMs - fromMs)).toEqual(renewals.map((_, i) => (i + 1) * 3_000))
    expect(renewals).toHaveLength(Math.floor((retryAtMs - fromMs) / 3_000))
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(100)
    expect(wait.grants).toHaveLength(1)
    expect(process.store.log).toHaveLength(before + renewals.length + 1)
  })

  test('an instant computed for one who withdrew is not kept', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    process.dispatcher.settle(await process.send(fleet, ONE), {})
    const wait = process.ask(ONE)
    await fleet.settle()
    process.dispatcher.withdraw(wait.request)
    await fleet.settle()
    const before = process.store.log.length
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(process.store.log).toHaveLength(before)
  })

  test('newcomers to a flow that waits already make no exchange of their own', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    await process.send(fleet, ONE)
    process.ask(ONE)
    await fleet.settle()
    const before = process.store.log.length
    for (let i = 0; i < 50; i++) {
      process.ask(ONE)
      await fleet.clock.advanceAsync(10)
    }
    expect(process.store.log).toHaveLength(before)
    process.ask(ONE, { flowKey: 'another' })
    await fleet.settle()
    expect(process.store.log).toHaveLength(before + 1)
  })

  test('a slot freed by one process goes to the other at once, without a timer', async () => {
    const fleet = fleetOf(100, 1)
    const [a, b] = [await fleet.join({ leaseMs: LONG_LEASE_MS }), await fleet.join({ leaseMs: LONG_LEASE_MS })]
    const held = await a.send(fleet, ONE)
    const waits = [b.ask(ONE), b.ask(ONE)]
    await fleet.clock.advanceAsync(5_000)
    const before = b.store.log.length
    a.dispatcher.settle(held, {})
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 0])
    expect(b.store.log).toHaveLength(before + 1)
    expect(fleet.used).toEqual([2, 1])
  })

  test('a waiter of another pool is not held up by 200 flows that a paused pool keeps back', async () => {
    const fleet = fleetOf(1_000, 1_000)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    await process.dispatcher.control({ type: 'pause', pool: 'p0' })
    const paused = Array.from({ length: 200 }, (_, i) => process.ask(ONE, { flowKey: `paused ${i}` }))
    await fleet.settle()
    const waits = [1, 2, 3].map(() => process.ask(ONE, { pool: 1, flowKey: 'free' }))
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 1, 1])
    await process.dispatcher.control({ type: 'resume', pool: 'p0' })
    await fleet.settle()
    expect(granted(paused)).toEqual(Array(200).fill(1))
  })
})
