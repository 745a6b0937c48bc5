import { describe, expect, test } from 'vitest'
import type { Charge } from '../../src/limits/store.js'
import { LEASE_MS, SLACK_MS, type Wait } from './fleet.js'
import { fleetOf, granted, LONG_LEASE_MS, MINUTE_MS, ONE } from './small-fleet.js'

describe('grants', () => {
  test('is good once, until sendBy', async () => {
    const fleet = fleetOf(10, 10)
    const { dispatcher, ...process } = await fleet.join()
    const ask = () => fleet.processes[0]!.ask(ONE)
    const [prompt, late] = [ask(), ask()]
    await fleet.settle()
    // Whole ms of the store's clock and drift cost a little of the slack.
    await fleet.clock.advanceAsync(SLACK_MS - 2)
    expect(dispatcher.maySend(prompt.grants[0]!)).toBe(true)
    expect(dispatcher.maySend(prompt.grants[0]!)).toBe(false)
    await fleet.clock.advanceAsync(2)
    expect(dispatcher.maySend(late.grants[0]!)).toBe(false)
    expect(late.grants[0]!.state).toBe('void')
    expect(fleet.used).toEqual([2, 2])
    dispatcher.settle(late.grants[0]!, { unsent: true })
    await fleet.settle()
    expect(fleet.used).toEqual([1, 1])
    expect(process.store.mostInFlight).toBe(1)
  })

  test('a reply that took longer than the slack brings a void grant', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const release = process.store.holdReplies()
    const wait = process.ask(ONE)
    await fleet.clock.advanceAsync(SLACK_MS + 1)
    release()
    await fleet.settle()
    expect(wait.grants).toHaveLength(1)
    expect(process.dispatcher.maySend(wait.grants[0]!)).toBe(false)
  })

  test('settling twice has no effect', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const [kept, settled] = [await process.send(fleet, ONE), await process.send(fleet, ONE)]
    for (let i = 0; i < 2; i++) {
      process.dispatcher.settle(settled, { unsent: true })
      await fleet.settle()
      process.dispatcher.settle(settled, { unsent: true, deltas: new Map([[0, 5]]) })
      await fleet.settle()
      expect(fleet.used).toEqual([1, 1])
    }
    expect(process.dispatcher.open).toBe(1)
    process.dispatcher.settle(kept, {})
    await fleet.settle()
    expect(fleet.used).toEqual([1, 0])
  })

  test('actual usage corrects the charge both ways', async () => {
    const fleet = fleetOf(100, 10)
    const process = await fleet.join()
    const charges: Charge[] = [
      [0, 10],
      [1, 1],
    ]
    const [over, under] = [await process.send(fleet, charges), await process.send(fleet, charges)]
    process.dispatcher.settle(over, { deltas: new Map([[0, 7]]) })
    process.dispatcher.settle(under, { deltas: new Map([[0, -4]]) })
    await fleet.settle()
    expect(fleet.used).toEqual([10 + 7 + 10 - 4, 0])
  })

  test('withdrawn before the exchange it is never asked for', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const wait = process.ask(ONE)
    process.dispatcher.withdraw(wait.request)
    await fleet.settle()
    expect(process.store.log.flatMap(({ exchange }) => exchange.waiters)).toEqual([])
    expect(process.dispatcher.waiting).toBe(0)
  })

  test('withdrawn during the exchange, its grant goes back unused and nobody is called', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const release = process.store.holdReplies()
    const [wait, other] = [process.ask(ONE), process.ask(ONE)]
    await fleet.settle()
    process.dispatcher.withdraw(wait.request)
    process.dispatcher.withdraw(wait.request)
    release()
    await fleet.settle()
    expect(granted([wait, other])).toEqual([0, 1])
    expect(fleet.used).toEqual([1, 1])
    expect(process.dispatcher.open).toBe(1)
  })

  test('withdrawn during an exchange that refuses it, it does not leave its flow blocked', async () => {
    const fleet = fleetOf(10, 1)
    const [a, b] = [await fleet.join(), await fleet.join()]
    const held = await a.send(fleet, ONE)
    const release = b.store.holdReplies()
    const withdrawn = b.ask(ONE)
    await fleet.settle()
    b.dispatcher.withdraw(withdrawn.request)
    release()
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    a.dispatcher.settle(held, {})
    await fleet.settle()
    const wait = b.ask(ONE)
    await fleet.settle()
    expect(granted([withdrawn, wait])).toEqual([0, 1])
  })

  test('withdrawn by whoever was served just before, it goes back unused all the same', async () => {
    const fleet = fleetOf(100, 100)
    const process = await fleet.join()
    const waits: Wait[] = []
    // Grants are handed out 32 a turn: one victim is of the same turn, one of the next.
    const onGrant = () => {
      for (const index of [5, 40]) process.dispatcher.withdraw(waits[index]!.request)
    }
    for (let i = 0; i < 50; i++) waits.push(process.ask(ONE, i === 0 ? { onGrant } : {}))
    await fleet.settle()
    expect(granted([waits[5]!, waits[40]!])).toEqual([0, 0])
    expect(fleet.used).toEqual([48, 48])
    expect(process.dispatcher.open).toBe(48)
  })

  test('a waiter that reserved ahead of others and withdraws leaves its turn to them', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    await process.send(fleet, [[0, 5]])
    const large = process.ask([[0, 8]], { flowKey: 'large', share: 0.8 })
    await fleet.settle()
    const small = process.ask([[0, 5]], { flowKey: 'small', share: 0.5 })
    await fleet.settle()
    expect(granted([large, small])).toEqual([0, 0])
    process.dispatcher.withdraw(large.request)
    await fleet.settle()
    expect(granted([large, small])).toEqual([0, 1])
  })

  test('refused, once and for all, when a limit was lowered below its cost', async () => {
    const fleet = fleetOf(10, 10)
    const [a, b] = [await fleet.join(), await fleet.join()]
    await a.send(fleet, [[0, 8]])
    const waits = [a.ask([[0, 5]]), b.ask([[0, 5]]), b.ask([[0, 2]])]
    await fleet.settle()
    await a.dispatcher.control({ type: 'limit', id: 'requests', base: 10, limit: 4 })
    await fleet.settle()
    expect(waits.map(({ refusals }) => refusals)).toEqual([[['requests', 4]], [['requests', 4]], []])
    expect([a.dispatcher.waiting, b.dispatcher.waiting]).toEqual([0, 1])
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(granted(waits)).toEqual([0, 0, 1])
  })
})
