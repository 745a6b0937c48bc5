import { describe, expect, test } from 'vitest'
import { type Fleet, type Process, SLACK_MS } from './fleet.js'
import { granted, LONG_LEASE_MS, slotFleetOf, tokenFleetOf } from './small-fleet.js'

/** The limit is spent; a grant for whoever waits comes half a second before its date, which is 60.3 s from here. */
async function spentFleet(): Promise<{ fleet: Fleet; process: Process; startMs: number }> {
  const fleet = tokenFleetOf(10, 100)
  const process = await fleet.join({ leaseMs: LONG_LEASE_MS })
  const startMs = fleet.clock.now()
  process.dispatcher.settle(await process.send({ tokens: 10 }), {})
  await fleet.settle()
  return { fleet, process, startMs }
}
const DATED_MS = 60_000
const DATE_MS = 60_300
/** By so much drift and whole ms may delay it. */
const LATE_MS = 2

/** The buckets of limit 0 that hold anything. */
const buckets = (fleet: Fleet) =>
  fleet.group
    .audit()
    .find(({ id }) => id === 'tokens')!
    .buckets.filter(([, amount]) => amount > 0)

describe('a dated grant', () => {
  test('waits for its date with no exchange, and is handed out then', async () => {
    const { fleet, process, startMs } = await spentFleet()
    const wait = process.ask({ tokens: 10 })
    await fleet.clock.advanceAsync(DATED_MS)
    const before = process.store.log.length
    expect(fleet.used).toEqual([20, 1])
    await fleet.clock.advanceAsync(DATE_MS - DATED_MS - 1)
    expect(wait.grants).toHaveLength(0)
    await fleet.clock.advanceAsync(1 + LATE_MS)
    expect(wait.grants).toHaveLength(1)
    expect(wait.grantedAtMs).toBeGreaterThanOrEqual(startMs + DATE_MS)
    expect(wait.grants[0]).toMatchObject({ notBeforeMs: startMs + DATE_MS, tokens: 10 })
    expect(process.store.log).toHaveLength(before)
    expect(process.dispatcher.maySend(wait.grants[0]!)).toBe(true)
  })

  test('of one who withdrew goes to the next of its flow that it covers; the rest is back in its bucket at once', async () => {
    const { fleet, process } = await spentFleet()
    const [gone, large, small] = [8, 9, 5].map((tokens) => process.ask({ tokens }))
    await fleet.clock.advanceAsync(DATED_MS)
    expect(fleet.used).toEqual([18, 1])
    const [, [bucket] = []] = buckets(fleet)
    process.dispatcher.withdraw(gone!.request)
    await fleet.clock.advanceAsync(DATE_MS - DATED_MS + LATE_MS)
    expect(granted([gone!, large!, small!])).toEqual([0, 0, 1])
    expect(small!.grants[0]!.tokens).toBe(5)
    expect(buckets(fleet)).toEqual([[bucket, 5]])
    expect(fleet.used).toEqual([5, 1])
    // What it was charged is what it gives back.
    process.dispatcher.settle(small!.grants[0]!, { unsent: true })
    await fleet.settle()
    expect(granted([large!])).toEqual([1])
    expect(buckets(fleet)).toEqual([[bucket, 9]])
  })

  test('never goes to another flow', async () => {
    const { fleet, process } = await spentFleet()
    const gone = process.ask({ tokens: 8 })
    await fleet.settle()
    const other = process.ask({ tokens: 8, flowKey: 'other' })
    await fleet.clock.advanceAsync(DATED_MS)
    process.dispatcher.withdraw(gone.request)
    await fleet.clock.advanceAsync(1_000)
    // It goes back at its date; then the store decides anew.
    expect(granted([gone, other])).toEqual([0, 1])
    expect(fleet.used).toEqual([8, 1])
    const withdrawn = process.store.log.flatMap(({ exchange }) => exchange.adjustments)
    expect(withdrawn).toEqual([[0, expect.any(Number), -8]])
  })

  test('that nobody needs goes back, slot and all', async () => {
    const { fleet, process } = await spentFleet()
    const gone = process.ask({ tokens: 8 })
    await fleet.clock.advanceAsync(DATED_MS)
    process.dispatcher.withdraw(gone.request)
    await fleet.clock.advanceAsync(DATE_MS - DATED_MS + LATE_MS)
    expect(fleet.used).toEqual([0, 0])
    await process.dispatcher.idle()
    expect(fleet.clock.pendingTimers).toBe(0)
  })

  test('goes to the first in line even if another came back to its place since', async () => {
    const { fleet, process } = await spentFleet()
    const first = process.ask({ tokens: 4 })
    const second = process.ask({ tokens: 4 })
    await fleet.clock.advanceAsync(DATE_MS + LATE_MS)
    expect(granted([first, second])).toEqual([1, 1])
    // The first let its grant go void: it stands before those who came meanwhile.
    const third = process.ask({ tokens: 8 })
    process.dispatcher.settle(first.grants[0]!, { unsent: true })
    const again = process.ask({ tokens: 4, order: first.request.order! })
    await fleet.settle()
    expect(granted([third, again])).toEqual([0, 1])
  })

  test('that comes due too late to be sent goes back without a word to anybody, and is not charged', async () => {
    const { fleet, process } = await spentFleet()
    const wait = process.ask({ tokens: 8 })
    await fleet.clock.advanceAsync(DATED_MS)
    const [, charged] = buckets(fleet)
    process.clock.stop()
    await fleet.clock.advanceAsync(DATE_MS - DATED_MS + SLACK_MS + LATE_MS)
    process.clock.resume()
    await fleet.settle()
    const { adjustments, service } = process.store.last
    expect(adjustments).toEqual([[0, charged![0], -8]])
    // 8 tokens of 10 a minute.
    expect(service).toEqual([[0, 'tenant', 'flow', -48_000_000]])
    // One grant it saw: the one that came in its place, in time.
    expect(wait.grants).toHaveLength(1)
    expect(process.dispatcher.maySend(wait.grants[0]!)).toBe(true)
    expect(fleet.used).toEqual([8, 1])
  })

  test('is void after a pause longer than the lease, and so is what was handed out and not sent', async () => {
    const fleet = tokenFleetOf(10, 100)
    const process = await fleet.join()
    process.dispatcher.settle(await process.send({ tokens: 10 }), {})
    const wait = process.ask({ tokens: 8 })
    await fleet.clock.advanceAsync(DATED_MS)
    process.clock.stop()
    await fleet.clock.advanceAsync(20_000)
    process.clock.resume()
    expect(wait.grants).toHaveLength(0)
    await fleet.settle()
    // As another process, whose grant is a new one.
    expect(wait.grants).toHaveLength(1)
    expect(process.dispatcher.maySend(wait.grants[0]!)).toBe(true)
    expect(fleet.used).toEqual([8, 1])
  })
})

test('a grant of slots alone, which has no date, is void after a pause longer than the lease too', async () => {
  const fleet = slotFleetOf(1)
  const [paused, other] = [await fleet.join(), await fleet.join()]
  const wait = paused.ask()
  await fleet.settle()
  paused.clock.stop()
  const taken = other.ask()
  await fleet.clock.advanceAsync(20_000)
  expect(taken.grants).toHaveLength(1)
  expect(other.dispatcher.maySend(taken.grants[0]!)).toBe(true)
  paused.clock.resume()
  expect(paused.dispatcher.maySend(wait.grants[0]!)).toBe(false)
  paused.dispatcher.settle(wait.grants[0]!, { unsent: true })
  await fleet.clock.advanceAsync(100)
  expect(fleet.used).toEqual([1])
})
