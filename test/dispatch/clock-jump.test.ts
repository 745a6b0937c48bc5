import { describe, expect, test } from 'vitest'
import { LEASE_MS } from './fleet.js'
import { fleetOf, granted, HOLD_MS, LONG_LEASE_MS, MINUTE_MS } from './small-fleet.js'

describe('a store whose clock jumps ahead', () => {
  test.each([
    ['within the window and the lease', 5_000, LONG_LEASE_MS],
    ['over the window: the grants of that reply are void', 2 * MINUTE_MS, LONG_LEASE_MS],
    ["over the lease's end: fenced anyway", 2 * MINUTE_MS, LEASE_MS],
  ])('%s: what was spent counts for its whole window all the same', async (_, aheadMs, leaseMs) => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join({ leaseMs })
    const sentMs = fleet.clock.now()
    process.dispatcher.settle(await process.send(), {})
    await fleet.clock.advanceAsync(1_000)
    fleet.storeAheadMs += aheadMs
    let sent = false
    const wait = process.ask({
      onGrant: (grant) => {
        wait.grants.push(grant)
        sent = process.dispatcher.maySend(grant)
      },
    })
    await fleet.settle()
    expect(process.newsOf('clock-distrusted')).toHaveLength(1)
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(sentMs + MINUTE_MS + HOLD_MS - fleet.clock.now())
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(1_000)
    expect(wait.grants).toHaveLength(1)
    expect(sent).toBe(true)
    expect(process.dispatcher.state).toBe('synced')
    expect(process.newsOf('clock-distrusted')).toHaveLength(1)
    expect(fleet.used).toEqual([1, 1])
  })

  test('is found out by each process: what all of them spent counts on', async () => {
    const fleet = fleetOf(2, 10)
    const processes = [await fleet.join({ leaseMs: LONG_LEASE_MS }), await fleet.join({ leaseMs: LONG_LEASE_MS })]
    const sentMs = fleet.clock.now()
    for (const process of processes) process.dispatcher.settle(await process.send(), {})
    await fleet.clock.advanceAsync(1_000)
    fleet.storeAheadMs += 2 * MINUTE_MS
    const waits = processes.map((process) => process.ask())
    await fleet.clock.advanceAsync(sentMs + MINUTE_MS + HOLD_MS - fleet.clock.now())
    expect(granted(waits)).toEqual([0, 0])
    await fleet.clock.advanceAsync(2_000)
    expect(granted(waits)).toEqual([1, 1])
    for (const process of processes) expect(process.newsOf('clock-distrusted')).toHaveLength(1)
  })

  test('is distrusted still when the store was out of reach for longer than the lease meanwhile', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join()
    const sentMs = fleet.clock.now()
    process.dispatcher.settle(await process.send(), {})
    await fleet.settle()
    fleet.storeAheadMs += 5_000
    process.onNews = ({ type }) => {
      if (type === 'clock-distrusted') process.store.lose = 'request'
    }
    const wait = process.ask()
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    expect(process.dispatcher.state).toBe('isolated')
    process.store.lose = undefined
    await fleet.clock.advanceAsync(2_000)
    expect(process.dispatcher.state).toBe('synced')
    await fleet.clock.advanceAsync(sentMs + MINUTE_MS + HOLD_MS - fleet.clock.now())
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(1_000)
    expect(wait.grants).toHaveLength(1)
  })

  test('that is set back, as a slow process hears late: what it is granted then goes out no earlier than dated', async () => {
    const fleet = fleetOf(1, 10, 5_000)
    const slow = await fleet.join({ leaseMs: LONG_LEASE_MS })
    const other = await fleet.join({ leaseMs: LONG_LEASE_MS })
    slow.dispatcher.settle(await slow.send(), {})
    await fleet.clock.advanceAsync(4_700)
    await other.send({ draws: [1] })
    const deliver = slow.store.holdRequests()
    const dates: number[] = []
    const wait = slow.ask({
      onGrant: (grant) => {
        if (slow.dispatcher.maySend(grant)) dates.push(grant.notBeforeMs - fleet.usage().nowMs)
        slow.dispatcher.settle(grant, dates.length > 0 ? {} : { unsent: true })
      },
    })
    await fleet.clock.advanceAsync(300)
    // What passed since the store was last asked is lost to its clock: less than the slow one's question takes.
    fleet.storeAheadMs -= 20_000
    await other.send({ draws: [1] })
    await fleet.clock.advanceAsync(100)
    deliver()
    await fleet.clock.advanceAsync(2_000)
    expect(dates).toHaveLength(1)
    expect(dates[0]).toBeLessThanOrEqual(0)
    expect(wait.refusals).toEqual([])
  })

  test('that falls behind only makes windows longer', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join()
    await process.send()
    const sentMs = fleet.clock.now()
    await fleet.clock.advanceAsync(10_000)
    fleet.storeAheadMs -= 20_000
    const wait = process.ask()
    await fleet.clock.advanceAsync(3 * MINUTE_MS)
    expect(wait.grants).toHaveLength(1)
    expect(wait.grantedAtMs).toBeGreaterThan(sentMs + MINUTE_MS + HOLD_MS)
    expect(process.newsOf('clock-distrusted')).toHaveLength(0)
  })
})
