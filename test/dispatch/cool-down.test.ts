import { describe, expect, test } from 'vitest'
import { RE_ENTRY_SPACING_MS } from '../../src/limits/store.js'
import { LEASE_MS } from './fleet.js'
import { fleetOf as smallFleetOf, granted } from './small-fleet.js'

const COOL_DOWN_MS = 5_000
const fleetOf = (concurrency: number) => smallFleetOf(100, concurrency)

describe('a cool-down', () => {
  test('recalls what was granted and not yet sent, of that pool only', async () => {
    const fleet = fleetOf(10)
    const process = await fleet.join()
    const refused = await process.send()
    const sent = await process.send()
    const [unsent, elsewhere] = [process.ask(), process.ask({ pool: 1, flowKey: 'p1' })]
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
    a.dispatcher.settle(await a.send(), { coolDownMs: COOL_DOWN_MS })
    await fleet.settle()
    const fromMs = fleet.clock.now()
    const waits = [a.ask(), b.ask()]
    const elsewhere = b.ask({ pool: 1, flowKey: 'p1' })
    await fleet.clock.advanceAsync(COOL_DOWN_MS - 1)
    expect(waits.map(({ grants }) => grants.length)).toEqual([0, 0])
    expect(elsewhere.grants).toHaveLength(1)
    await fleet.clock.advanceAsync(100)
    expect(waits.map(({ grants }) => grants.length)).toEqual([1, 1])
    for (const { grantedAtMs } of waits) expect(grantedAtMs).toBeGreaterThanOrEqual(fromMs + COOL_DOWN_MS)
  })

  test('takes back grants whose reply was on its way when the provider refused: nobody is called with them', async () => {
    const fleet = fleetOf(10)
    const process = await fleet.join()
    const refused = await process.send()
    const release = process.store.holdReplies()
    let sent = false
    const wait = process.ask({
      onGrant: (grant) => {
        wait.grants.push(grant)
        wait.grantedAtMs = fleet.clock.now()
        sent = process.dispatcher.maySend(grant)
      },
    })
    await fleet.settle()
    expect(fleet.used).toEqual([2, 2])
    process.dispatcher.settle(refused, { coolDownMs: COOL_DOWN_MS })
    const fromMs = fleet.clock.now()
    release()
    await fleet.settle()
    expect(wait.grants).toHaveLength(0)
    expect(fleet.used).toEqual([1, 0])
    await fleet.clock.advanceAsync(COOL_DOWN_MS + 100)
    expect(wait.grants).toHaveLength(1)
    expect(wait.grantedAtMs).toBeGreaterThanOrEqual(fromMs + COOL_DOWN_MS)
    expect(sent).toBe(true)
  })

  test('is prolonged by a longer one, never shortened by a shorter one', async () => {
    const fleet = fleetOf(10)
    const process = await fleet.join()
    const [first, second] = [await process.send(), await process.send()]
    process.dispatcher.settle(first, { coolDownMs: COOL_DOWN_MS })
    await fleet.settle()
    const untilMs = fleet.usage().pausedUntilMs.p0!
    process.dispatcher.settle(second, { coolDownMs: 10 })
    await fleet.settle()
    expect(fleet.usage().pausedUntilMs.p0).toBe(untilMs)
  })
})

describe('the next generation', () => {
  test('takes back dated grants of that pool whose date is before its end, here and in other processes', async () => {
    const fleet = smallFleetOf(4, 100)
    const [a, b] = [await fleet.join(), await fleet.join()]
    const calls = [await a.send(), await a.send(), await b.send(), await b.send()]
    await fleet.clock.advanceAsync(1_000)
    const waits = [a.ask(), b.ask(), a.ask({ pool: 1, flowKey: 'p1' })]
    // Until the grants are there, dated half a second ahead.
    await fleet.clock.advanceAsync(58_900)
    expect(granted(waits)).toEqual([0, 0, 0])
    expect(fleet.used).toEqual([4 + 3, 4 + 3])
    a.dispatcher.settle(calls[0]!, { coolDownMs: COOL_DOWN_MS })
    const fromMs = fleet.clock.now()
    await fleet.settle()
    expect(fleet.used).toEqual([4 + 1, 3 + 1])
    await fleet.clock.advanceAsync(COOL_DOWN_MS - 1)
    expect(granted(waits)).toEqual([0, 0, 1])
    await fleet.clock.advanceAsync(1_000)
    expect(granted(waits)).toEqual([1, 1, 1])
    for (const { grantedAtMs } of waits.slice(0, 2)) expect(grantedAtMs).toBeGreaterThanOrEqual(fromMs + COOL_DOWN_MS)
  })

  test('takes nothing back twice: a word of the same cool-down leaves later grants alone', async () => {
    const fleet = fleetOf(10)
    const process = await fleet.join()
    process.dispatcher.settle(await process.send(), { coolDownMs: 100 })
    await fleet.clock.advanceAsync(10)
    const wait = process.ask()
    // Further replies name the same generation again.
    for (let i = 0; i < 5; i++) {
      process.ask({ flowKey: `flow ${i}`, pool: 1 })
      await fleet.clock.advanceAsync(20)
    }
    expect(wait.grants).toHaveLength(1)
    expect(process.dispatcher.maySend(wait.grants[0]!)).toBe(true)
  })

  test('re-enters with its grants spaced, not all at once', async () => {
    const fleet = fleetOf(10)
    const process = await fleet.join()
    process.dispatcher.settle(await process.send(), { coolDownMs: COOL_DOWN_MS })
    await fleet.settle()
    const waits = [1, 2, 3, 4].map(() => process.ask())
    await fleet.clock.advanceAsync(COOL_DOWN_MS + 200)
    expect(granted(waits)).toEqual([1, 1, 1, 1])
    const dates = waits.map(({ grants }) => grants[0]!.notBeforeMs)
    for (let i = 1; i < 4; i++) expect(dates[i]! - dates[i - 1]!).toBeGreaterThanOrEqual(RE_ENTRY_SPACING_MS)
  })
})

describe('the end', () => {
  test('idle resolves once nothing waits and every settlement is reported', async () => {
    const fleet = fleetOf(1)
    const process = await fleet.join()
    await process.dispatcher.idle()
    const held = await process.send()
    const wait = process.ask()
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
    const wait = process.ask()
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
    const held = await process.send()
    const wait = process.ask()
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
    const held = await process.send()
    process.ask()
    await fleet.settle()
    const idle = process.dispatcher.idle()
    await process.dispatcher.stop()
    await idle
    expect(process.dispatcher.state).toBe('stopped')
    const before = process.store.log.length
    process.ask({ flowKey: 'late' })
    process.dispatcher.settle(held, {})
    await fleet.clock.advanceAsync(60_000)
    expect(process.store.log).toHaveLength(before)
    expect(fleet.clock.pendingTimers).toBe(0)
  })

  test('stopped with nothing left it leaves the group, and is forgotten once what it spent counts no more', async () => {
    const fleet = fleetOf(1)
    const [goes, stays] = [await fleet.join(), await fleet.join()]
    goes.dispatcher.settle(await goes.send(), {})
    await goes.dispatcher.idle()
    const before = goes.store.log.length
    await goes.dispatcher.stop()
    expect(goes.store.log).toHaveLength(before + 1)
    expect(goes.store.last).toMatchObject({ leave: true, flows: [] })
    expect(Object.keys(fleet.usage().processes)).toEqual([stays.store.last.processId])
    expect(fleet.clock.pendingTimers).toBe(0)
    // Until then its spending may have to be asked for.
    await stays.send()
    expect(stays.dispatcher.known.roster).toEqual(['process-1', 'process-2'])
    await fleet.clock.advanceAsync(2 * 60_000)
    expect(stays.dispatcher.known.roster).toEqual(['process-2'])
  })

  test('stopped while it holds something it does not leave: that returns with its lease', async () => {
    const fleet = fleetOf(1)
    const [goes, stays] = [await fleet.join(), await fleet.join()]
    await goes.send()
    await goes.dispatcher.stop()
    expect(goes.store.log.some(({ exchange }) => exchange.leave)).toBe(false)
    const wait = stays.ask()
    await fleet.settle()
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    expect(wait.grants).toHaveLength(1)
  })

  test('stopped while the store is out of reach it does not wait for it', async () => {
    const fleet = fleetOf(1)
    const process = await fleet.join()
    process.store.lose = 'request'
    process.store.disconnect(new Error('ECONNRESET'))
    await process.dispatcher.stop()
    expect(process.dispatcher.state).toBe('stopped')
    expect(fleet.clock.pendingTimers).toBe(0)
  })

  test('stopped during an exchange it ignores the reply', async () => {
    const fleet = fleetOf(1)
    const process = await fleet.join()
    const release = process.store.holdReplies()
    const wait = process.ask()
    await fleet.settle()
    await process.dispatcher.stop()
    release()
    await fleet.clock.advanceAsync(60_000)
    expect(wait.grants).toHaveLength(0)
    expect(process.dispatcher.state).toBe('stopped')
    expect(fleet.clock.pendingTimers).toBe(0)
  })
})
