import { describe, expect, test } from 'vitest'
import { LEASE_MS } from './fleet.js'
import { fleetOf as smallFleetOf, tokenFleetOf } from './small-fleet.js'

const fleetOf = (concurrency: number) => smallFleetOf(100, concurrency)

describe('a dead process', () => {
  test("its slots go to another at its lease's end, its rate charges stay", async () => {
    const fleet = fleetOf(1)
    const [dead, living] = [await fleet.join(), await fleet.join()]
    await dead.send()
    const diedMs = fleet.clock.now()
    dead.clock.stop()
    const wait = living.ask()
    await fleet.clock.advanceAsync(LEASE_MS - 1)
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(LEASE_MS)
    expect(wait.grants).toHaveLength(1)
    // No one tells the living of a death: the first renewal after it finds out.
    const renewed = living.store.log.find(({ atMs }) => atMs >= diedMs + LEASE_MS)
    expect(wait.grantedAtMs).toBe(renewed?.atMs)
    expect(fleet.used).toEqual([2, 1])
  })

  test.each([
    ['', 0],
    [", by its own clock where the store's jumps ahead", 40_000],
  ])("with holdUntilCallDeadline they stay until its call's own deadline%s", async (_, aheadMs) => {
    const fleet = fleetOf(1)
    const [dead, living] = [await fleet.join({ holdUntilCallDeadline: true }), await fleet.join()]
    await dead.send()
    // What it holds is told at the next renewal.
    await fleet.clock.advanceAsync(LEASE_MS / 3)
    const deadlineMs = fleet.clock.now() - LEASE_MS / 3 + 60_000
    fleet.storeAheadMs += aheadMs
    await fleet.clock.advanceAsync(LEASE_MS)
    dead.clock.stop()
    const wait = living.ask()
    await fleet.clock.advanceAsync(deadlineMs - fleet.clock.now())
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(LEASE_MS)
    expect(wait.grants).toHaveLength(1)
  })

  test('… also of a call that began as it was cut off, before it could tell of it', async () => {
    const fleet = fleetOf(1)
    const [cut, living] = [await fleet.join({ holdUntilCallDeadline: true }), await fleet.join()]
    const sent: boolean[] = []
    cut.ask({
      onGrant: (grant) => {
        cut.store.lose = 'request'
        sent.push(cut.dispatcher.maySend(grant))
      },
    })
    await fleet.settle()
    expect(sent).toEqual([true])
    const wait = living.ask()
    await fleet.clock.advanceAsync(60_000)
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    expect(wait.grants).toHaveLength(1)
  })

  test('its turn passes to the next in line', async () => {
    const fleet = fleetOf(1)
    const [holder, dead, living] = [await fleet.join(), await fleet.join(), await fleet.join()]
    const held = await holder.send()
    const first = dead.ask()
    await fleet.clock.advanceAsync(10)
    const second = living.ask()
    await fleet.clock.advanceAsync(10)
    dead.clock.stop()
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    holder.dispatcher.settle(held, {})
    await fleet.settle()
    expect([first.grants.length, second.grants.length]).toEqual([0, 1])
  })
})

describe('a pause longer than the lease', () => {
  test('the process joins under a new id and its running calls are adopted', async () => {
    const fleet = fleetOf(2)
    const [paused, other] = [await fleet.join(), await fleet.join()]
    const running = [await paused.send(), await paused.send()]
    const oldId = paused.store.last.processId
    paused.clock.stop()
    const taken = other.ask()
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    expect(taken.grants).toHaveLength(1)
    expect(fleet.usage().processes[oldId]).toBeUndefined()
    paused.clock.resume()
    await fleet.settle()
    const { exchange } = paused.store.log.find(({ exchange: { processId } }) => processId !== oldId)!
    expect(exchange).toMatchObject({ seq: 1, held: [[1, 2]] })
    // Two run on and one was granted meanwhile: over the limit, but true. Nothing more until two have ended.
    expect(fleet.used).toEqual([3, 3])
    const next = other.ask()
    await fleet.settle()
    paused.dispatcher.settle(running[0]!, {})
    await fleet.settle()
    expect([fleet.used[1], next.grants.length]).toEqual([2, 0])
    paused.dispatcher.settle(running[1]!, {})
    await fleet.settle()
    expect([fleet.used[1], next.grants.length]).toEqual([2, 1])
  })

  test('a settlement owed over the pause counts once', async () => {
    const fleet = tokenFleetOf(100, 2)
    const [paused, other] = [await fleet.join(), await fleet.join()]
    const grant = await paused.send({ tokens: 10 })
    await other.send({ tokens: 10, draws: [0] })
    paused.clock.stop()
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    paused.dispatcher.settle(grant, { tokensDelta: -4 })
    paused.clock.resume()
    await fleet.settle()
    expect(fleet.used).toEqual([16, 0])
  })

  test('who finds itself fenced rejoins, repeats what it owes and asks again', async () => {
    const fleet = tokenFleetOf(100, 2)
    const [slow, other] = [await fleet.join(), await fleet.join()]
    const [ended, running] = [await slow.send({ tokens: 1 }), await slow.send({ tokens: 1 })]
    const oldId = slow.store.last.processId
    const deliver = slow.store.holdRequests()
    slow.dispatcher.settle(ended, { tokensDelta: 5 })
    const wait = slow.ask({ tokens: 1 })
    await fleet.clock.advanceAsync(LEASE_MS)
    const taken = other.ask({ tokens: 1 })
    await fleet.settle()
    expect(taken.grants).toHaveLength(1)
    expect(slow.newsOf('fenced')).toHaveLength(0)
    deliver()
    await fleet.settle()
    expect(slow.newsOf('fenced')).toHaveLength(1)
    expect(slow.store.last.processId).not.toBe(oldId)
    // One runs on, one was taken by the other; the settled one is settled, its overrun counted once.
    expect(fleet.used).toEqual([3 + 5, 2])
    expect(wait.grants).toHaveLength(0)
    slow.dispatcher.settle(running, {})
    await fleet.settle()
    expect(wait.grants).toHaveLength(1)
  })

  test('a settlement whose reply was lost just before a pause gives nothing back twice', async () => {
    const fleet = tokenFleetOf(100, 10)
    const [lossy, other] = [await fleet.join(), await fleet.join()]
    const grant = await lossy.send({ tokens: 10 })
    await other.send({ tokens: 10, draws: [0] })
    lossy.store.lose = 'reply'
    lossy.dispatcher.settle(grant, { unsent: true })
    await fleet.settle()
    lossy.clock.stop()
    lossy.store.lose = undefined
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    lossy.clock.resume()
    await fleet.settle()
    expect(fleet.used).toEqual([10, 0])
  })

  test('a settlement that was applied, its reply lost and its process fenced, gives nothing back twice', async () => {
    const fleet = tokenFleetOf(100, 10)
    const [lossy, other] = [await fleet.join(), await fleet.join()]
    const grant = await lossy.send({ tokens: 10 })
    const kept = await other.send({ tokens: 10, draws: [0] })
    lossy.store.lose = 'reply'
    lossy.dispatcher.settle(grant, { unsent: true })
    await fleet.settle()
    expect(fleet.used).toEqual([10, 0])
    lossy.store.lose = 'request'
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    expect(fleet.used).toEqual([10, 0])
    lossy.store.lose = undefined
    await fleet.clock.advanceAsync(2_000)
    expect(lossy.dispatcher.state).toBe('synced')
    expect(fleet.used).toEqual([10, 0])
    other.dispatcher.settle(kept, {})
    await lossy.dispatcher.idle()
  })

  test.each([false, true])('a join applied twice over a lease leaves no slot behind (hold: %s)', async (hold) => {
    const fleet = fleetOf(5)
    const [lossy] = [await fleet.join({ holdUntilCallDeadline: hold }), await fleet.join()]
    const [ended, running] = [await lossy.send(), await lossy.send()]
    lossy.clock.stop()
    await fleet.clock.advanceAsync(LEASE_MS + 1)
    lossy.dispatcher.settle(ended, { unsent: true })
    // Its new id joins, but the reply is lost, and the store is out of reach for longer than the lease.
    lossy.store.lose = 'reply'
    lossy.clock.resume()
    await fleet.settle()
    lossy.store.lose = 'request'
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    lossy.store.lose = undefined
    await fleet.clock.advanceAsync(2_000)
    expect(lossy.dispatcher.state).toBe('synced')
    expect(fleet.used[0]).toBe(1)
    lossy.dispatcher.settle(running, {})
    // Past every deadline nothing is held.
    await fleet.clock.advanceAsync(180_000)
    await fleet.processes[1]!.send({ draws: [1] })
    expect(fleet.used[1]).toBe(1)
  })
})
