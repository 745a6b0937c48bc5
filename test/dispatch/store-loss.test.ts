import { describe, expect, test } from 'vitest'
import type { Charge } from '../../src/limits/store.js'
import { groupOf, rate, slots } from '../limits/driver.js'
import { Fleet, LEASE_MS, Process } from './fleet.js'

const MINUTE_MS = 60_000
const HOLD_MS = 200

/** Limit 0 counts requests, limit 1 calls in flight. */
function fleetOf(requests: number, concurrency: number): Fleet {
  return new Fleet(groupOf(rate('requests', requests, MINUTE_MS, HOLD_MS), slots('calls', concurrency)))
}
const ONE: readonly Charge[] = [
  [0, 1],
  [1, 1],
]

describe('the store out of reach', () => {
  test.each(['request', 'reply'] as const)('a lost %s: isolated; the same batch again; granted once', async (lose) => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    expect(process.dispatcher.state).toBe('synced')
    const before = process.store.log.length
    process.store.lose = lose
    const wait = process.ask(ONE)
    await fleet.settle()
    expect(process.dispatcher.state).toBe('isolated')
    expect(process.dispatcher.canGrant).toBe(false)
    const other = process.ask(ONE)
    await fleet.clock.advanceAsync(1_000)
    expect([wait.grants.length, other.grants.length]).toEqual([0, 0])
    process.store.lose = undefined
    await fleet.clock.advanceAsync(1_000)
    const attempts = process.store.log.slice(before)
    const repeats = attempts.slice(0, -1)
    expect(repeats.length).toBeGreaterThan(2)
    for (const { exchange } of repeats) expect(exchange).toEqual(attempts[0]!.exchange)
    // Whoever came meanwhile is the batch after it.
    const last = attempts.at(-1)!.exchange
    expect([last.seq, last.waiters.length]).toEqual([attempts[0]!.exchange.seq + 1, 1])
    expect(process.dispatcher.state).toBe('synced')
    expect(process.dispatcher.canGrant).toBe(true)
    expect([wait.grants.length, other.grants.length]).toEqual([1, 1])
    expect(fleet.used).toEqual([2, 2])
    expect(process.newsOf('store-error')).toHaveLength(repeats.length - 1)
    // A reply from memory reads an old clock: no reason to distrust it.
    expect(process.newsOf('clock-distrusted')).toHaveLength(0)
  })

  test('it asks ever more seldom, at most once a second', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    process.store.lose = 'request'
    process.ask(ONE)
    await fleet.settle()
    const from = process.store.log.length - 1
    await fleet.clock.advanceAsync(5_000)
    const atMs = process.store.log.slice(from).map((entry) => entry.atMs)
    const gapsMs = atMs.slice(1).map((later, i) => later - atMs[i]!)
    expect(gapsMs).toEqual([50, 100, 200, 400, 800, 1_000, 1_000, 1_000])
  })

  test('news of the connection are followed without an exchange, and its return is used at once', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    process.store.lose = 'request'
    process.store.disconnect(new Error('ECONNRESET'))
    expect(process.dispatcher.state).toBe('isolated')
    expect(process.newsOf('store-error')[0]!.cause).toMatchObject({ message: 'ECONNRESET' })
    const wait = process.ask(ONE)
    await fleet.clock.advanceAsync(500)
    process.store.lose = undefined
    process.store.connect()
    await fleet.settle()
    expect(process.dispatcher.state).toBe('synced')
    expect(wait.grants).toHaveLength(1)
  })

  test('before the first answer it is connecting, and joined when it comes', async () => {
    const fleet = fleetOf(10, 10)
    const unreachable = new Process(fleet, {})
    unreachable.store.lose = 'request'
    unreachable.dispatcher.start()
    await fleet.clock.advanceAsync(300)
    expect(unreachable.dispatcher.state).toBe('connecting')
    expect(unreachable.dispatcher.canGrant).toBe(false)
    unreachable.store.lose = undefined
    await fleet.clock.advanceAsync(1_000)
    await unreachable.dispatcher.joined
    expect(unreachable.dispatcher.state).toBe('synced')
  })
})

describe('the state of the store lost', () => {
  test.each([1, 3])('%d processes learn until what was spent is outside every window', async (count) => {
    const fleet = fleetOf(4, 10)
    for (let i = 0; i < count; i++) await fleet.join()
    const [first] = fleet.processes
    for (let i = 0; i < 4; i++) await first!.send(fleet, ONE)
    fleet.loseState()
    await fleet.settle()
    const lostMs = fleet.clock.now()
    expect(fleet.processes.map(({ dispatcher }) => dispatcher.state)).toEqual(Array(count).fill('learning'))
    expect(fleet.processes.map(({ dispatcher }) => dispatcher.canGrant)).toEqual(Array(count).fill(false))
    const waits = fleet.processes.map((process) => process.ask(ONE))
    await fleet.clock.advanceAsync(MINUTE_MS + HOLD_MS - 1)
    expect(waits.map(({ grants }) => grants.length)).toEqual(Array(count).fill(0))
    await fleet.clock.advanceAsync(1_000)
    expect(waits.map(({ grants }) => grants.length)).toEqual(Array(count).fill(1))
    for (const { grantedAtMs } of waits) expect(grantedAtMs).toBeGreaterThanOrEqual(lostMs + MINUTE_MS + HOLD_MS)
    expect(fleet.processes.map(({ dispatcher }) => dispatcher.state)).toEqual(Array(count).fill('synced'))
  })

  test('twice in a row it learns again', async () => {
    const fleet = fleetOf(4, 10)
    const process = await fleet.join()
    await process.send(fleet, ONE)
    fleet.loseState()
    await fleet.clock.advanceAsync(MINUTE_MS / 2)
    fleet.loseState()
    await fleet.settle()
    expect(process.dispatcher.state).toBe('learning')
    const wait = process.ask(ONE)
    await fleet.clock.advanceAsync(MINUTE_MS + HOLD_MS - 1)
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(1_000)
    expect(wait.grants).toHaveLength(1)
  })

  test('calls in flight are known again, and give nothing back that was never charged', async () => {
    const fleet = fleetOf(10, 3)
    const process = await fleet.join()
    const running = [await process.send(fleet, ONE), await process.send(fleet, ONE)]
    fleet.loseState()
    await fleet.settle()
    expect(fleet.used).toEqual([0, 2])
    process.dispatcher.settle(running[0]!, { unsent: true })
    process.dispatcher.settle(running[1]!, { deltas: new Map([[0, 5]]) })
    await fleet.settle()
    expect(fleet.used).toEqual([5, 0])
  })
})

describe('a store whose clock jumps ahead', () => {
  test.each([
    ['within the lease: the grants of that reply are void', 5_000],
    ["over the lease's end: fenced as well", 2 * MINUTE_MS],
  ])('%s; it learns, then goes on', async (_, aheadMs) => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    await process.send(fleet, ONE)
    fleet.storeAheadMs += aheadMs
    const wait = process.ask(ONE)
    await fleet.settle()
    const jumpedMs = fleet.clock.now()
    const fenced = aheadMs > LEASE_MS
    expect(process.newsOf('fenced')).toHaveLength(fenced ? 1 : 0)
    expect(process.newsOf('clock-distrusted')).toHaveLength(1)
    expect(process.dispatcher.state).toBe('learning')
    expect(wait.grants.map((grant) => process.dispatcher.maySend(grant))).toEqual(fenced ? [] : [false])
    for (const grant of wait.grants) process.dispatcher.settle(grant, { unsent: true })
    const again = fenced ? wait : process.ask(ONE)
    await fleet.clock.advanceAsync(MINUTE_MS + HOLD_MS - 1)
    expect(again.grants).toHaveLength(0)
    // Drift makes it wait a little longer than computed.
    let maySend = false
    while (!maySend && fleet.clock.runNext()) {
      await fleet.settle()
      maySend = again.grants.some((grant) => process.dispatcher.maySend(grant))
    }
    expect(maySend).toBe(true)
    expect(again.grantedAtMs).toBeGreaterThanOrEqual(jumpedMs + MINUTE_MS + HOLD_MS)
    expect(process.dispatcher.state).toBe('synced')
    expect(process.newsOf('clock-distrusted')).toHaveLength(1)
  })

  test('is distrusted still when the store was out of reach for longer than the lease meanwhile', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    await process.send(fleet, ONE)
    fleet.storeAheadMs += 5_000
    process.ask(ONE, {
      onGrant: (grant) => {
        process.store.lose = 'request'
        process.dispatcher.settle(grant, { unsent: true })
      },
    })
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    expect(process.dispatcher.state).toBe('isolated')
    process.store.lose = undefined
    await fleet.clock.advanceAsync(2_000)
    expect(process.dispatcher.state).toBe('learning')
  })

  test('that falls behind only makes windows longer', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join()
    await process.send(fleet, ONE)
    const sentMs = fleet.clock.now()
    await fleet.clock.advanceAsync(10_000)
    fleet.storeAheadMs -= 20_000
    const wait = process.ask(ONE)
    await fleet.clock.advanceAsync(3 * MINUTE_MS)
    expect(wait.grants).toHaveLength(1)
    expect(wait.grantedAtMs).toBeGreaterThan(sentMs + MINUTE_MS + HOLD_MS)
    expect(process.newsOf('clock-distrusted')).toHaveLength(0)
  })
})
