import { describe, expect, test } from 'vitest'
import { LEASE_MS, SLACK_MS, type Wait } from './fleet.js'
import { fleetOf, granted, HOLD_MS, LONG_LEASE_MS, MINUTE_MS, slotFleetOf, tokenFleetOf } from './small-fleet.js'

const BUCKET_MS = MINUTE_MS / 600

describe('grants', () => {
  test('is good once, until sendBy', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const { dispatcher } = process
    const [prompt, late] = [process.ask(), process.ask()]
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

  test('is good for as long as the slack of its pool', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join({ slackMs: [SLACK_MS, 4 * SLACK_MS] })
    const waits = [process.ask(), process.ask({ pool: 1, flowKey: 'other' })]
    await fleet.settle()
    const grants = waits.map((wait) => wait.grants[0]!)
    expect(grants.map(({ notBeforeMs, sendByMs }) => sendByMs - notBeforeMs)).toEqual([SLACK_MS, 4 * SLACK_MS])
    await fleet.clock.advanceAsync(2 * SLACK_MS)
    expect(grants.map((grant) => process.dispatcher.maySend(grant))).toEqual([false, true])
  })

  test('where nothing but slots is taken it is good for as long as the lease is sure', async () => {
    const fleet = slotFleetOf(10)
    const process = await fleet.join()
    const [prompt, late] = [process.ask(), process.ask()]
    await fleet.settle()
    expect(prompt.grants[0]!.sendByMs).toBe(Number.POSITIVE_INFINITY)
    process.store.lose = 'request' // From here on no renewal gets through.
    await fleet.clock.advanceAsync(0.9 * LEASE_MS)
    expect(process.dispatcher.maySend(prompt.grants[0]!)).toBe(true)
    await fleet.clock.advanceAsync(1)
    expect(process.dispatcher.maySend(late.grants[0]!)).toBe(false)
  })

  test('a reply that took longer than the slack brings no grant, but another in its place', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const release = process.store.holdReplies()
    const wait = process.ask()
    await fleet.clock.advanceAsync(SLACK_MS + 1)
    const nowMs = fleet.clock.now()
    release()
    await fleet.settle()
    expect(process.store.last).toMatchObject({ adjustments: [[0, expect.any(Number), -1]], freed: [[1, 1]] })
    expect(wait.grants.map(({ notBeforeMs }) => notBeforeMs)).toEqual([nowMs])
    expect(process.dispatcher.maySend(wait.grants[0]!)).toBe(true)
    expect(fleet.used).toEqual([1, 1])
  })

  test('settling twice has no effect', async () => {
    const fleet = tokenFleetOf(100, 10)
    const process = await fleet.join()
    const [kept, settled] = [await process.send({ tokens: 10 }), await process.send({ tokens: 10 })]
    for (let i = 0; i < 2; i++) {
      process.dispatcher.settle(settled, { unsent: true })
      await fleet.settle()
      process.dispatcher.settle(settled, { unsent: true, tokensDelta: 5, coolDownMs: 1_000 })
      await fleet.settle()
      expect(fleet.used).toEqual([10, 1])
      expect(fleet.usage().pausedUntilMs).toEqual({})
    }
    expect(process.dispatcher.open).toBe(1)
    process.dispatcher.settle(kept, {})
    await fleet.settle()
    expect(fleet.used).toEqual([10, 0])
  })

  test('actual usage corrects the charge both ways', async () => {
    const fleet = tokenFleetOf(100, 10)
    const process = await fleet.join()
    const [over, under] = [await process.send({ tokens: 10 }), await process.send({ tokens: 10 })]
    process.dispatcher.settle(over, { tokensDelta: 7 })
    process.dispatcher.settle(under, { tokensDelta: -4 })
    await fleet.settle()
    expect(fleet.used).toEqual([10 + 7 + 10 - 4, 0])
  })

  test('nothing goes back that was not charged: an over-estimate beyond the whole charge is bounded by it', async () => {
    const fleet = tokenFleetOf(100, 10)
    const process = await fleet.join()
    await process.send({ tokens: 30 })
    process.dispatcher.settle(await process.send({ tokens: 10 }), { tokensDelta: -25 })
    await fleet.settle()
    expect(fleet.used).toEqual([30, 1])
  })

  test('withdrawn before the exchange it is never asked for', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const wait = process.ask()
    process.dispatcher.withdraw(wait.request)
    await fleet.clock.advanceAsync(MINUTE_MS)
    const stated = process.store.log.flatMap(({ exchange }) => exchange.flows.map(({ count }) => count))
    expect(stated.every((count) => count === 0)).toBe(true)
    expect(wait.grants).toHaveLength(0)
    expect(process.dispatcher.waiting).toBe(0)
    expect(fleet.used).toEqual([0, 0])
  })

  test('withdrawn during the exchange, its grant goes back unused and nobody is called', async () => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    const release = process.store.holdReplies()
    const [wait, other] = [process.ask(), process.ask()]
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
    const held = await a.send()
    const release = b.store.holdReplies()
    const withdrawn = b.ask()
    await fleet.settle()
    b.dispatcher.withdraw(withdrawn.request)
    release()
    await fleet.clock.advanceAsync(2 * LEASE_MS)
    a.dispatcher.settle(held, {})
    await fleet.settle()
    const wait = b.ask()
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
    for (let i = 0; i < 50; i++) waits.push(process.ask(i === 0 ? { onGrant } : {}))
    await fleet.clock.advanceAsync(1)
    expect(granted([waits[5]!, waits[40]!])).toEqual([0, 0])
    expect(granted(waits)).toEqual(waits.map((_, i) => ([0, 5, 40].includes(i) ? 0 : 1)))
    expect(fleet.used).toEqual([48, 48])
    expect(process.dispatcher.open).toBe(48)
  })

  test('a waiter that reserved ahead of others and withdraws leaves its turn to them', async () => {
    const fleet = tokenFleetOf(10, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    await process.send({ tokens: 5 })
    const large = process.ask({ tokens: 8, flowKey: 'large' })
    await fleet.settle()
    const small = process.ask({ tokens: 5, flowKey: 'small' })
    await fleet.clock.advanceAsync(1_000)
    expect(granted([large, small])).toEqual([0, 0])
    process.dispatcher.withdraw(large.request)
    await fleet.clock.advanceAsync(25)
    expect(granted([large, small])).toEqual([0, 1])
  })

  test('a small one passes a large one that waits, as long as it does not delay it', async () => {
    const fleet = tokenFleetOf(10, 10)
    const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
    const fromMs = fleet.clock.now()
    await process.send({ tokens: 5 })
    const large = process.ask({ tokens: 8, flowKey: 'large' })
    await fleet.clock.advanceAsync(1_000)
    // When the 5 are back, 10 − 8 = 2 are left beside the large one.
    const fits = process.ask({ tokens: 2, flowKey: 'small' })
    await fleet.settle()
    const delays = process.ask({ tokens: 1, flowKey: 'smaller' })
    await fleet.settle()
    expect(granted([large, fits, delays])).toEqual([0, 1, 0])
    await fleet.clock.advanceAsync(MINUTE_MS + 1_000)
    expect(granted([large])).toEqual([1])
    expect(large.grantedAtMs).toBeLessThanOrEqual(fromMs + MINUTE_MS + HOLD_MS + BUCKET_MS + 1)
  })

  test('refused, once and for all, when a limit was lowered below its cost', async () => {
    const fleet = tokenFleetOf(10, 10)
    const [a, b] = [await fleet.join(), await fleet.join()]
    await a.send({ tokens: 8 })
    const waits = [a.ask({ tokens: 5 }), b.ask({ tokens: 5 }), b.ask({ tokens: 2 })]
    await fleet.settle()
    await a.dispatcher.control({ type: 'limit', id: 'tokens', base: 10, limit: 4 })
    await fleet.settle()
    expect(waits.map(({ refusals }) => refusals)).toEqual([[['tokens', 4]], [['tokens', 4]], []])
    expect([a.dispatcher.waiting, b.dispatcher.waiting]).toEqual([0, 1])
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(granted(waits)).toEqual([0, 0, 1])
  })
})
