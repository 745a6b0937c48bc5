import { describe, expect, test } from 'vitest'
import type { Grant } from '../../src/dispatch/grant.js'
import type { Process, Wait } from './fleet.js'
import { fleetOf, granted, LONG_LEASE_MS, slotFleetOf } from './small-fleet.js'

/** Both slots are taken, four wait, and the store has said what this process may do about it. */
async function busyFleet(): Promise<{
  fleet: ReturnType<typeof slotFleetOf>
  process: Process
  running: Grant[]
  waits: Wait[]
}> {
  const fleet = slotFleetOf(2)
  const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
  const running = [await process.send(), await process.send()]
  const waits = Array.from({ length: 4 }, () => process.ask())
  await fleet.clock.advanceAsync(25)
  return { fleet, process, running, waits }
}

describe('a freed slot', () => {
  test('goes to the next in line of this process at once, with no exchange; it is reported later', async () => {
    const { fleet, process, running, waits } = await busyFleet()
    const before = process.store.log.length
    process.dispatcher.settle(running[0]!, {})
    expect(granted(waits)).toEqual([1, 0, 0, 0])
    expect(process.dispatcher.maySend(waits[0]!.grants[0]!)).toBe(true)
    await fleet.settle()
    expect(process.store.log).toHaveLength(before)
    expect(fleet.used).toEqual([2])
    await fleet.clock.advanceAsync(25)
    expect(process.store.log).toHaveLength(before + 1)
    // One freed and one taken is no change; what was served of the flow is.
    expect(process.store.last.freed).toEqual([])
    expect(process.store.last.flows).toMatchObject([{ count: 3 }])
    expect(process.store.last.service.map(([pool, tenant, flow]) => [pool, tenant, flow])).toEqual([
      [0, 'tenant', 'flow'],
    ])
    expect(fleet.used).toEqual([2])
  })

  test('many times over, with no more than an exchange for what is gathered', async () => {
    const fleet = slotFleetOf(2)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    let done = 0
    let mostRunning = 0
    let running = 0
    const call = (grant: Grant) => {
      expect(process.dispatcher.maySend(grant)).toBe(true)
      mostRunning = Math.max(mostRunning, ++running)
      fleet.clock.setTimeout(() => {
        running--
        done++
        process.dispatcher.settle(grant, {})
      }, 1)
    }
    for (let i = 0; i < 400; i++) process.ask({ onGrant: call })
    await fleet.clock.advanceAsync(1_000)
    expect(done).toBe(400)
    expect(mostRunning).toBe(2)
    expect(process.store.log.length).toBeLessThan(400 / 10)
    await process.dispatcher.idle()
    expect(fleet.used).toEqual([0])
  })

  test.each([
    ['a cut', { cuts: [0] }],
    ['a cool-down', { coolDownMs: 1_000 }],
  ])('is not handed on after %s', async (_, end) => {
    const { process, running, waits } = await busyFleet()
    process.dispatcher.settle(running[0]!, end)
    expect(granted(waits)).toEqual([0, 0, 0, 0])
    // Nor is the next one, until the store has answered.
    process.dispatcher.settle(running[1]!, {})
    expect(granted(waits)).toEqual([0, 0, 0, 0])
  })

  test.each([
    ['a cut', { cuts: [0] }],
    ['a cool-down', { coolDownMs: 1_000 }],
  ])('is not handed on after %s on the word of a reply that was on its way before', async (_, end) => {
    const { fleet, process, running, waits } = await busyFleet()
    const release = process.store.holdReplies()
    process.ask()
    await fleet.clock.advanceAsync(25)
    process.dispatcher.settle(running[0]!, end)
    // The next exchange, which reports it, is held as well.
    const releaseNext = process.store.holdRequests()
    release()
    await fleet.settle()
    process.dispatcher.settle(running[1]!, {})
    expect(granted(waits)).toEqual([0, 0, 0, 0])
    releaseNext()
  })

  test('after a cut no more than the new ceiling are in flight', async () => {
    const { fleet, process, running, waits } = await busyFleet()
    process.dispatcher.settle(running[0]!, { cuts: [0] })
    await fleet.settle()
    expect(granted(waits)).toEqual([0, 0, 0, 0])
    process.dispatcher.settle(running[1]!, {})
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 0, 0, 0])
    expect(fleet.used).toEqual([1])
  })

  test('is not handed on while the store is out of reach', async () => {
    const { fleet, process, running, waits } = await busyFleet()
    process.store.lose = 'request'
    process.store.disconnect(new Error('ECONNRESET'))
    process.dispatcher.settle(running[0]!, {})
    await fleet.clock.advanceAsync(5_000)
    expect(granted(waits)).toEqual([0, 0, 0, 0])
  })

  test('is not handed on where rates count: only the store knows of them', async () => {
    const fleet = fleetOf(100, 1)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    const held = await process.send()
    const wait = process.ask()
    await fleet.settle()
    process.dispatcher.settle(held, {})
    expect(wait.grants).toHaveLength(0)
    await fleet.settle()
    expect(wait.grants).toHaveLength(1)
  })

  test('is shared with another process as soon as that waits', async () => {
    const fleet = slotFleetOf(2)
    const [a, b] = [await fleet.join({ leaseMs: LONG_LEASE_MS }), await fleet.join({ leaseMs: LONG_LEASE_MS })]
    const done = { a: 0, b: 0 }
    let running = 0
    let mostRunning = 0
    const load = (process: Process, name: 'a' | 'b') => {
      const call = (grant: Grant) => {
        if (!process.dispatcher.maySend(grant)) throw new Error('expected a good grant')
        mostRunning = Math.max(mostRunning, ++running)
        fleet.clock.setTimeout(() => {
          running--
          done[name]++
          process.dispatcher.settle(grant, {})
        }, 100)
      }
      for (let i = 0; i < 200; i++) process.ask({ onGrant: call })
    }
    load(a, 'a')
    await fleet.clock.advanceAsync(1_000)
    expect(done.a).toBeGreaterThan(15)
    load(b, 'b')
    // Until both have learned how long a call holds its slot.
    await fleet.clock.advanceAsync(2_000)
    const before = { ...done }
    expect(before.b).toBeGreaterThan(5)
    await fleet.clock.advanceAsync(4_000)
    // Each gets half, give or take a round of the pool.
    expect(Math.abs(done.a - before.a - (done.b - before.b))).toBeLessThanOrEqual(6)
    expect(done.a - before.a + done.b - before.b).toBeGreaterThan(70)
    expect(mostRunning).toBe(2)
  })
})
