import { describe, expect, test } from 'vitest'
import { HEARSAY_MS, LEARN_MS } from '../../src/limits/store.js'
import { Process } from './fleet.js'
import { fleetOf, granted, HOLD_MS, MINUTE_MS, tokenFleetOf } from './small-fleet.js'

describe('the store out of reach', () => {
  test.each(['request', 'reply'] as const)('a lost %s: isolated; the same batch again; granted once', async (lose) => {
    const fleet = fleetOf(10, 10)
    const process = await fleet.join()
    expect(process.dispatcher.state).toBe('synced')
    const before = process.store.log.length
    process.store.lose = lose
    const wait = process.ask()
    await fleet.settle()
    expect(process.dispatcher.state).toBe('isolated')
    expect(process.dispatcher.canGrant).toBe(false)
    const other = process.ask()
    await fleet.clock.advanceAsync(1_000)
    expect([wait.grants.length, other.grants.length]).toEqual([0, 0])
    process.store.lose = undefined
    await fleet.clock.advanceAsync(1_000)
    const attempts = process.store.log.slice(before)
    const repeats = attempts.slice(0, -1)
    expect(repeats.length).toBeGreaterThan(2)
    for (const { exchange } of repeats) expect(exchange).toEqual(attempts[0]!.exchange)
    // Whoever came meanwhile is the batch after it; a grant whose reply was lost came too late to be sent.
    const last = attempts.at(-1)!.exchange
    const waiting = lose === 'reply' ? 2 : 1
    expect([last.seq, last.flows.map(({ count }) => count)]).toEqual([attempts[0]!.exchange.seq + 1, [waiting]])
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
    process.ask()
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
    const wait = process.ask()
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
  test.each([1, 3])(
    '%d processes replay what they spent: once all have, and those nobody knew of had a moment, grants go on, and nothing is over',
    async (count) => {
      const fleet = fleetOf(2 * count, 10)
      for (let i = 0; i < count; i++) await fleet.join()
      const fromMs = fleet.clock.now()
      for (const process of fleet.processes) process.dispatcher.settle(await process.send(), {})
      await fleet.clock.advanceAsync(1_000)
      fleet.loseState()
      const waits = fleet.processes.flatMap((process) => [process.ask(), process.ask()])
      await fleet.clock.advanceAsync(HEARSAY_MS - 1)
      expect(granted(waits)).toEqual(Array(2 * count).fill(0))
      await fleet.clock.advanceAsync(10)
      expect(waits.filter(({ grants }) => grants.length === 1)).toHaveLength(count)
      expect(fleet.used).toEqual([2 * count, count])
      for (const process of fleet.processes) {
        expect(process.newsOf('state').map(({ state }) => state)).toEqual([
          'connecting',
          'synced',
          'learning',
          'synced',
        ])
        expect(process.dispatcher.canGrant).toBe(true)
      }
      const late = waits.filter(({ grants }) => grants.length === 0)
      await fleet.clock.advanceAsync(2 * MINUTE_MS)
      expect(granted(waits)).toEqual(Array(2 * count).fill(1))
      for (const { grantedAtMs } of late) expect(grantedAtMs).toBeGreaterThan(fromMs + MINUTE_MS + HOLD_MS)
      for (const { sum, bucketSum } of fleet.group.audit()) expect(sum).toBe(bucketSum)
    },
  )

  test('learns while one that may have spent is silent, and takes its share as spent when it stays so', async () => {
    const fleet = fleetOf(4, 10)
    const [silent, process] = [await fleet.join(), await fleet.join()]
    for (let i = 0; i < 3; i++) await silent.send()
    await process.send()
    await fleet.settle()
    fleet.loseState()
    silent.clock.stop()
    const wait = process.ask()
    await fleet.settle()
    const lostMs = fleet.clock.now()
    expect(process.dispatcher.state).toBe('learning')
    expect(process.dispatcher.canGrant).toBe(false)
    await fleet.clock.advanceAsync(LEARN_MS + 100)
    expect(process.dispatcher.state).toBe('synced')
    expect(wait.grants).toHaveLength(0)
    expect(fleet.used[0]).toBe(4)
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(wait.grants).toHaveLength(1)
    expect(wait.grantedAtMs).toBeGreaterThan(lostMs + MINUTE_MS + HOLD_MS)
  })

  test('goes on at once when the silent one comes and replays', async () => {
    const fleet = fleetOf(4, 10)
    const [late, process] = [await fleet.join(), await fleet.join()]
    for (let i = 0; i < 2; i++) await late.send()
    await process.send()
    fleet.loseState()
    late.clock.stop()
    const waits = [process.ask(), process.ask()]
    await fleet.clock.advanceAsync(5_000)
    expect(granted(waits)).toEqual([0, 0])
    late.clock.resume()
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 0])
    expect(fleet.used[0]).toBe(4)
  })

  test('nothing is over though who comes first never heard of those that joined after it', async () => {
    const fleet = fleetOf(4, 10)
    const [first, second] = [await fleet.join(), await fleet.join()]
    for (let i = 0; i < 3; i++) await second.send()
    expect(first.dispatcher.known.roster).toEqual(['process-1'])
    fleet.loseState()
    const waits = Array.from({ length: 4 }, () => first.ask())
    await fleet.clock.advanceAsync(HEARSAY_MS + 10)
    expect(granted(waits)).toEqual([1, 0, 0, 0])
    expect(fleet.used).toEqual([4, 4])
  })

  test('an empty store in its place is filled in the same way', async () => {
    const fleet = fleetOf(3, 10)
    const processes = [await fleet.join(), await fleet.join()]
    for (const process of processes) await process.send()
    fleet.failOver()
    const waits = processes.map((process) => process.ask())
    await fleet.clock.advanceAsync(HEARSAY_MS + 10)
    expect(granted(waits).sort()).toEqual([0, 1])
    expect(fleet.used).toEqual([3, 3])
  })

  test('twice in a row it replays twice', async () => {
    const fleet = fleetOf(1, 10)
    const process = await fleet.join()
    const fromMs = fleet.clock.now()
    process.dispatcher.settle(await process.send(), {})
    const wait = process.ask()
    for (let i = 0; i < 2; i++) {
      await fleet.clock.advanceAsync(MINUTE_MS / 3)
      fleet.loseState()
    }
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(wait.grants).toHaveLength(1)
    expect(wait.grantedAtMs).toBeGreaterThan(fromMs + MINUTE_MS + HOLD_MS)
    expect(process.newsOf('state').filter(({ state }) => state === 'learning')).toHaveLength(2)
  })

  test('what was corrected before the loss is replayed as it was corrected', async () => {
    const fleet = tokenFleetOf(100, 10)
    const process = await fleet.join()
    const [more, less, unsent] = [1, 2, 3].map(() => process.ask({ tokens: 10 }))
    await fleet.settle()
    for (const { grants } of [more!, less!]) process.dispatcher.maySend(grants[0]!)
    process.dispatcher.settle(more!.grants[0]!, { tokensDelta: 5 })
    process.dispatcher.settle(less!.grants[0]!, { tokensDelta: -4 })
    process.dispatcher.settle(unsent!.grants[0]!, { unsent: true })
    await fleet.settle()
    expect(fleet.used).toEqual([15 + 6, 0])
    fleet.loseState()
    process.ask({ tokens: 1 })
    await fleet.settle()
    expect(fleet.used).toEqual([15 + 6, 0])
    await fleet.clock.advanceAsync(HEARSAY_MS + 10)
    expect(fleet.used).toEqual([15 + 6 + 1, 1])
  })

  test('calls in flight are known again, and what they end with corrects what was replayed', async () => {
    const fleet = tokenFleetOf(100, 3)
    const process = await fleet.join()
    const running = [await process.send({ tokens: 10 }), await process.send({ tokens: 10 })]
    fleet.loseState()
    process.ask({ tokens: 1 })
    await fleet.clock.advanceAsync(HEARSAY_MS + 10)
    expect(fleet.used).toEqual([21, 3])
    // What it held before the loss gives nothing back: only the journal knows of it.
    process.dispatcher.settle(running[0]!, { unsent: true })
    process.dispatcher.settle(running[1]!, { tokensDelta: 5 })
    await fleet.settle()
    expect(fleet.used).toEqual([26, 1])
  })
})
