import { describe, expect, test } from 'vitest'
import type { Charge } from '../../src/limits/store.js'
import { groupOf, rate, slots } from '../limits/driver.js'
import { Fleet } from './fleet.js'

const COOL_DOWN_MS = 5_000

/** Limit 0 counts requests, limit 1 calls in flight. */
function fleetOf(concurrency: number): Fleet {
  return new Fleet(groupOf(rate('requests', 100, 60_000), slots('calls', concurrency)))
}
const ONE: readonly Charge[] = [
  [0, 1],
  [1, 1],
]

describe('a cool-down', () => {
  test('recalls what was granted and not yet sent, of that pool only', async () => {
    const fleet = fleetOf(10)
    const process = await fleet.join()
    const refused = await process.send(fleet, ONE)
    const sent = await process.send(fleet, ONE)
    const [unsent, elsewhere] = [process.ask(ONE), process.ask(ONE, { pool: 1, flowKey: 'p1' })]
    await fleet.settle()
    process.dispatcher.settle(refused, { coolDownMs: COOL_DOWN_MS })
    expect(process.dispatcher.maySend(unsent.grants[0]!)).toBe(false)
    expect(process.dispatcher.maySend(elsewhere.grants[0]!)).toBe(true)
    expect(sent.state).toBe('sent')
    process.dispatcher.settle(unsent.grants[0]!, { unsent: true })
    await fleet.settle()
    expect(fleet.used).toEqual([3, 2])
  })

  test('holds for the whole fleet and for its whole time', async () => {
    const fleet = fleetOf(10)
    const [a, b] = [await fleet.join(), await fleet.join()]
    a.dispatcher.settle(await a.send(fleet, ONE), { coolDownMs: COOL_DOWN_MS })
    await fleet.settle()
    const fromMs = fleet.clock.now()
    const waits = [a.ask(ONE), b.ask(ONE)]
    const elsewhere = b.ask(ONE, { pool: 1, flowKey: 'p1' })
    await fleet.clock.advanceAsync(COOL_DOWN_MS - 1)
    expect(waits.map(({ grants }) => grants.length)).toEqual([0, 0])
    expect(elsewhere.grants).toHaveLength(1)
    await fleet.clock.advanceAsync(100)
    expect(waits.map(({ grants }) => grants.length)).toEqual([1, 1])
    for (const { grantedAtMs } of waits) expect(grantedAtMs).toBeGreaterThanOrEqual(fromMs + COOL_DOWN_MS)
  })

  test('voids grants whose reply was on its way when the provider refused', async () => {
    const fleet = fleetOf(10)
    const process = await fleet.join()
    const refused = await process.send(fleet, ONE)
    const release = process.store.holdReplies()
    const wait = process.ask(ONE)
    await fleet.settle()
    process.dispatcher.settle(refused, { coolDownMs: COOL_DOWN_MS })
    release()
    await fleet.settle()
    expect(wait.grants).toHaveLength(1)
    expect(process.dispatcher.maySend(wait.grants[0]!)).toBe(false)
  })

  test('is prolonged by a longer one, never shortened by a shorter one', async () => {
    const fleet = fleetOf(10)
    const process = await fleet.join()
    const [first, second] = [await process.send(fleet, ONE), await process.send(fleet, ONE)]
    process.dispatcher.settle(first, { coolDownMs: COOL_DOWN_MS })
    await fleet.settle()
    const untilMs = fleet.usage().pausedUntilMs.p0!
    process.dispatcher.settle(second, { coolDownMs: 10 })
    await fleet.settle()
    expect(fleet.usage().pausedUntilMs.p0).toBe(untilMs)
  })
})

describe('the end', () => {
  test('idle resolves once nothing waits and every settlement is reported', async () => {
    const fleet = fleetOf(1)
    const process = await fleet.join()
    await process.dispatcher.idle()
    const held = await process.send(fleet, ONE)
    const wait = process.ask(ONE)
    let idle = false
    const done = process.dispatcher.idle().then(() => {
      idle = true
    })
    process.dispatcher.settle(held, {})
    await fleet.settle()
    expect([wait.grants.length, idle]).toEqual([1, false])
    const release = process.store.holdRequests()
    process.dispatcher.settle(wait.grants[0]!, {})
    await fleet.settle()
    expect(idle).toBe(false)
    release()
    await done
    expect(fleet.used).toEqual([2, 0])
  })

  test('idle waits for a withdrawal whose grant is on its way', async () => {
    const fleet = fleetOf(1)
    const process = await fleet.join()
    const release = process.store.holdReplies()
    const wait = process.ask(ONE)
    await fleet.settle()
    process.dispatcher.withdraw(wait.request)
    const done = process.dispatcher.idle()
    release()
    await fleet.settle()
    await done
    expect(fleet.used).toEqual([0, 0])
  })

  test('draining it finishes what it has', async () => {
    const fleet = fleetOf(1)
    const process = await fleet.join()
    const held = await process.send(fleet, ONE)
    const wait = process.ask(ONE)
    process.dispatcher.drain()
    expect(process.dispatcher.state).toBe('draining')
    expect(process.dispatcher.canGrant).toBe(true)
    process.dispatcher.settle(held, {})
    await fleet.settle()
    expect(wait.grants).toHaveLength(1)
    expect(process.dispatcher.state).toBe('draining')
  })

  test('stopped it asks no more, holds no timer, and keeps nobody waiting for idle', async () => {
    const fleet = fleetOf(1)
    const process = await fleet.join()
    const held = await process.send(fleet, ONE)
    process.ask(ONE)
    await fleet.settle()
    const idle = process.dispatcher.idle()
    await process.dispatcher.stop()
    await idle
    expect(process.dispatcher.state).toBe('stopped')
    const before = process.store.log.length
    process.ask(ONE, { flowKey: 'late' })
    process.dispatcher.settle(held, {})
    await fleet.clock.advanceAsync(60_000)
    expect(process.store.log).toHaveLength(before)
    expect(fleet.clock.pendingTimers).toBe(0)
  })

  test('stopped during an exchange it ignores the reply', async () => {
    const fleet = fleetOf(1)
    const process = await fleet.join()
    const release = process.store.holdReplies()
    const wait = process.ask(ONE)
    await fleet.settle()
    await process.dispatcher.stop()
    release()
    await fleet.clock.advanceAsync(60_000)
    expect(wait.grants).toHaveLength(0)
    expect(process.dispatcher.state).toBe('stopped')
    expect(fleet.clock.pendingTimers).toBe(0)
  })
})
