import { describe, expect, test } from 'vitest'
import { type Fleet, LEASE_MS, type Process } from './fleet.js'
import { fleetOf, granted, HOLD_MS, tokenFleetOf } from './small-fleet.js'

const WINDOW_MS = 10_000
const ISOLATED_MS = 120_000
const REQUESTS = 10
const OPTIONS = { isolatedMs: ISOLATED_MS }

/** The provider's books: when each request arrived. */
class Books {
  readonly arrivals: { readonly who: Process; readonly atMs: number }[] = []

  /** Keeps a process asking and sending all the time; calls take no time. */
  keepBusy(fleet: Fleet, process: Process): void {
    const ask = () => {
      process.ask({
        onGrant: (grant) => {
          const sent = process.dispatcher.maySend(grant)
          if (sent) this.arrivals.push({ who: process, atMs: fleet.clock.now() })
          process.dispatcher.settle(grant, sent ? {} : { unsent: true })
          fleet.clock.setTimeout(ask, 0)
        },
      })
    }
    ask()
  }

  of(who: Process, fromMs: number, toMs = Number.POSITIVE_INFINITY): number[] {
    return this.arrivals.filter((a) => a.who === who && a.atMs >= fromMs && a.atMs < toMs).map(({ atMs }) => atMs)
  }

  /** The most that arrived in any window. */
  worst(of: (who: Process) => boolean = () => true): number {
    const times = this.arrivals.filter(({ who }) => of(who)).map(({ atMs }) => atMs)
    let worst = 0
    let first = 0
    times.forEach((atMs, last) => {
      while (times[first]! <= atMs - WINDOW_MS) first++
      worst = Math.max(worst, last - first + 1)
    })
    return worst
  }
}

async function busyFleet(count: number) {
  const fleet = fleetOf(REQUESTS, 100, WINDOW_MS)
  for (let i = 0; i < count; i++) await fleet.join(OPTIONS)
  const books = new Books()
  for (const process of fleet.processes) books.keepBusy(fleet, process)
  await fleet.clock.advanceAsync(2 * WINDOW_MS)
  return { fleet, books, processes: fleet.processes }
}

describe('a process cut off from the store', () => {
  test('without isolatedMs sends nothing, for however long', async () => {
    const fleet = fleetOf(REQUESTS, 100, WINDOW_MS)
    const process = await fleet.join()
    process.store.lose = 'request'
    const wait = process.ask()
    await fleet.clock.advanceAsync(10 * ISOLATED_MS)
    expect(wait.grants).toHaveLength(0)
    expect(process.dispatcher.canGrant).toBe(false)
    expect(process.newsOf('on-floor')).toHaveLength(0)
  })

  test('goes on from its floor once lease and window are over, spends no more than it, and stops in time', async () => {
    const { fleet, books, processes } = await busyFleet(2)
    const [cut] = processes
    const cutMs = fleet.clock.now()
    cut!.store.lose = 'request'
    // Its lease may run from its last exchange; whatever was dated before comes within a second.
    const opensMs = cutMs + LEASE_MS + WINDOW_MS + HOLD_MS
    await fleet.clock.advanceAsync(LEASE_MS + WINDOW_MS)
    expect(books.of(cut!, cutMs + 1_000)).toEqual([])
    await fleet.clock.advanceAsync(2 * ISOLATED_MS)
    const sent = books.of(cut!, cutMs + 1_000)
    expect(Math.min(...sent)).toBeGreaterThanOrEqual(opensMs - LEASE_MS / 3)
    expect(sent.length).toBeGreaterThan(5 * 5)
    expect(Math.max(...sent)).toBeLessThan(cutMs + LEASE_MS + ISOLATED_MS)
    for (const atMs of sent) expect(sent.filter((t) => t > atMs - WINDOW_MS && t <= atMs).length).toBeLessThanOrEqual(5)
    expect(cut!.newsOf('on-floor')).toHaveLength(1)
    expect(cut!.dispatcher.canGrant).toBe(false)
    expect(books.worst()).toBeLessThanOrEqual(REQUESTS)
  })

  test('waits out a cool-down that it finds out itself', async () => {
    const { fleet, books, processes } = await busyFleet(2)
    const [cut] = processes
    cut!.store.lose = 'request'
    await fleet.clock.advanceAsync(LEASE_MS + WINDOW_MS + HOLD_MS + WINDOW_MS)
    const wait = cut!.ask()
    while (wait.grants.length === 0) await fleet.clock.advanceAsync(100)
    const fromMs = fleet.clock.now()
    cut!.dispatcher.maySend(wait.grants[0]!)
    cut!.dispatcher.settle(wait.grants[0]!, { coolDownMs: 3 * WINDOW_MS })
    await fleet.clock.advanceAsync(5 * WINDOW_MS)
    const sent = books.of(cut!, fromMs + 1)
    expect(sent.length).toBeGreaterThan(0)
    expect(Math.min(...sent)).toBeGreaterThanOrEqual(fromMs + 3 * WINDOW_MS)
  })

  test('meanwhile the others leave its floor alone, and have all of the limit afterwards', async () => {
    const { fleet, books, processes } = await busyFleet(2)
    const [cut, other] = processes
    const cutMs = fleet.clock.now()
    cut!.clock.stop()
    await fleet.clock.advanceAsync(LEASE_MS + ISOLATED_MS - 1_000)
    const during = books.of(other!, cutMs + LEASE_MS + WINDOW_MS)
    for (const atMs of during) {
      expect(during.filter((t) => t > atMs - WINDOW_MS && t <= atMs).length).toBeLessThanOrEqual(5)
    }
    expect(during.length).toBeGreaterThan(30)
    await fleet.clock.advanceAsync(10 * WINDOW_MS)
    expect(books.of(other!, cutMs + LEASE_MS + ISOLATED_MS + 2 * WINDOW_MS).length).toBeGreaterThan(60)
  })

  test.each([1, 2, 3])('with %d of three cut off and back again, no window is over its limit', async (count) => {
    const { fleet, books, processes } = await busyFleet(3)
    const cut = processes.slice(0, count)
    for (const process of cut) {
      process.store.lose = 'request'
      await fleet.clock.advanceAsync(1_700)
    }
    await fleet.clock.advanceAsync(60_000)
    expect(cut.map((process) => books.of(process, fleet.clock.now() - 30_000).length > 0)).toEqual(cut.map(() => true))
    for (const process of cut) {
      process.store.lose = undefined
      await fleet.clock.advanceAsync(1_300)
    }
    await fleet.clock.advanceAsync(6 * WINDOW_MS)
    expect(books.worst()).toBeLessThanOrEqual(REQUESTS)
    expect(processes.map(({ dispatcher }) => dispatcher.state)).toEqual(['synced', 'synced', 'synced'])
    // Together they have all of the limit again.
    const late = books.arrivals.filter(({ atMs }) => atMs > fleet.clock.now() - 4 * WINDOW_MS)
    expect(late.length).toBeGreaterThanOrEqual(3 * REQUESTS)
    for (const { sum, bucketSum } of fleet.group.audit()) expect(sum).toBe(bucketSum)
  })

  test('owes what it spent from the floor, as debt, when the store is back', async () => {
    const fleet = tokenFleetOf(100, 100, WINDOW_MS)
    const process = await fleet.join(OPTIONS)
    await fleet.settle()
    process.store.lose = 'request'
    const wait = process.ask({ tokens: 30 })
    // A batch that was sent as the lease ended may have renewed it.
    await fleet.clock.advanceAsync(2 * LEASE_MS + WINDOW_MS + 5_000)
    expect(granted([wait])).toEqual([1])
    expect(wait.grants[0]!.isolated).toBe(true)
    expect(process.dispatcher.maySend(wait.grants[0]!)).toBe(false) // Asked too late: sendBy is over.
    process.dispatcher.settle(wait.grants[0]!, { unsent: true })
    const sent = await process.send({ tokens: 40 })
    expect(sent.isolated).toBe(true)
    process.dispatcher.settle(sent, { tokensDelta: 7 })
    process.store.lose = undefined
    await fleet.clock.advanceAsync(2_000)
    expect(process.dispatcher.state).toBe('synced')
    expect(fleet.used[0]).toBeGreaterThanOrEqual(47)
    expect(fleet.used[1]).toBe(0)
    await process.dispatcher.idle()
  })

  test('floors add up to the limit, whoever joined when; who is idle keeps nothing from the others', async () => {
    const fleet = fleetOf(REQUESTS, 4, WINDOW_MS)
    const first = await fleet.join(OPTIONS)
    await fleet.clock.advanceAsync(5_000)
    expect(first.dispatcher.known.floors).toEqual([10, 4])
    for (let i = 0; i < 2; i++) await fleet.join(OPTIONS)
    await fleet.clock.advanceAsync(3 * LEASE_MS)
    expect(fleet.processes.map(({ dispatcher }) => dispatcher.known.floors)).toEqual([
      [4, 2],
      [3, 1],
      [3, 1],
    ])
    const waits = Array.from({ length: REQUESTS }, () => fleet.processes[2]!.ask({ draws: [0] }))
    await fleet.settle()
    expect(granted(waits)).toEqual(Array(REQUESTS).fill(1))
  })

  test('one that leaves leaves its floor to the others', async () => {
    const fleet = fleetOf(REQUESTS, 4, WINDOW_MS)
    const [goes, stays] = [await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    await fleet.clock.advanceAsync(LEASE_MS)
    await goes.dispatcher.stop()
    expect(goes.store.last.leave).toBe(true)
    await fleet.clock.advanceAsync(LEASE_MS)
    expect(stays.dispatcher.known.floors).toEqual([10, 4])
    const waits = Array.from({ length: 4 }, () => stays.ask())
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 1, 1, 1])
  })

  test('with holdUntilCallDeadline begins no call that may outlast what is set aside for it', async () => {
    const fleet = fleetOf(100, 4, WINDOW_MS)
    const cut = await fleet.join({ ...OPTIONS, holdUntilCallDeadline: true })
    const other = await fleet.join(OPTIONS)
    await fleet.clock.advanceAsync(LEASE_MS)
    cut.store.lose = 'request'
    const cutMs = fleet.clock.now()
    // On its floor it has two slots until the store lets go of them.
    const endMs = cut.store.log.findLast(({ reply }) => reply)!.atMs + LEASE_MS + ISOLATED_MS
    const callTimeoutMs = 30_000
    await fleet.clock.advanceAsync(endMs - callTimeoutMs - 1_000 - cutMs)
    const early = await cut.send({ callTimeoutMs })
    expect(early.isolated).toBe(true)
    await fleet.clock.advanceAsync(1_000)
    const late = cut.ask({ callTimeoutMs })
    const short = cut.ask({ callTimeoutMs: 10_000, flowKey: 'short' })
    const slotless = cut.ask({ callTimeoutMs, draws: [0], flowKey: 'slotless' })
    await fleet.settle()
    expect(granted([late, short, slotless])).toEqual([0, 1, 1])
    cut.dispatcher.settle(short.grants[0]!, {})
    await fleet.clock.advanceAsync(endMs + LEASE_MS - fleet.clock.now())
    expect(granted([late])).toEqual([0])
    // By now none of its calls can be running, and the others have all.
    const others = [1, 2, 3, 4].map(() => other.ask())
    await fleet.clock.advanceAsync(LEASE_MS)
    expect(granted(others)).toEqual([1, 1, 1, 1])
  })

  test('that finds itself given up, and is cut off again as it joins, lives on what was set aside before', async () => {
    const { fleet, books, processes } = await busyFleet(2)
    const [cut] = processes
    cut!.store.lose = 'request'
    const cutMs = fleet.clock.now()
    await fleet.clock.advanceAsync(ISOLATED_MS - 2 * WINDOW_MS)
    // The knock is answered, the batch that joins under a new id never arrives.
    cut!.onNews = ({ type }) => {
      if (type === 'fenced') cut!.store.lose = 'request'
    }
    cut!.store.lose = undefined
    await fleet.clock.advanceAsync(2 * ISOLATED_MS)
    expect(cut!.newsOf('fenced')).toHaveLength(1)
    expect(books.of(cut!, cutMs + LEASE_MS + ISOLATED_MS)).toEqual([])
    expect(books.worst()).toBeLessThanOrEqual(REQUESTS)
  })

  test('that finds its lease alive is told of the time before, which says nothing of the clock', async () => {
    const fleet = fleetOf(100, 4, WINDOW_MS)
    const cut = await fleet.join(OPTIONS)
    await cut.send()
    cut.store.lose = 'reply'
    await fleet.clock.advanceAsync(LEASE_MS)
    cut.store.lose = undefined
    await fleet.clock.advanceAsync(2_000)
    // Knocks once its lease is over by its own reckoning; the batch whose reply was lost has renewed it.
    const knock = cut.store.log.find(({ exchange: { seq }, reply }) => seq === 0 && reply)
    expect(knock!.reply!.fenced).toBe(false)
    expect(knock!.reply!.nowMs).toBeLessThan(knock!.atMs)
    expect(cut.newsOf('clock-distrusted')).toEqual([])
    expect(cut.dispatcher.state).toBe('synced')
  })

  test('whose share of the slots is none says that it can grant nothing', async () => {
    const fleet = fleetOf(100, 1, WINDOW_MS)
    const cut = [await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    await fleet.clock.advanceAsync(LEASE_MS)
    for (const { store } of cut) store.lose = 'request'
    await fleet.clock.advanceAsync(3 * LEASE_MS + WINDOW_MS)
    expect(cut.map((process) => process.newsOf('on-floor').length)).toEqual([1, 1])
    expect(cut.map(({ dispatcher }) => dispatcher.known.floors)).toEqual([
      [50, 1],
      [50, 0],
    ])
    expect(cut.map(({ dispatcher }) => dispatcher.canGrant)).toEqual([true, false])
  })

  test('slots of calls that began before count against the floor', async () => {
    const fleet = fleetOf(100, 4, WINDOW_MS)
    const [cut, other] = [await fleet.join(OPTIONS), await fleet.join(OPTIONS)]
    const before = [await cut.send(), await cut.send()] // All of its two.
    cut.store.lose = 'request'
    const waits = [cut.ask(), cut.ask(), cut.ask()]
    await fleet.clock.advanceAsync(60_000)
    expect(cut.newsOf('on-floor')).toHaveLength(1)
    expect(granted(waits)).toEqual([0, 0, 0])
    cut.dispatcher.settle(before[0]!, {})
    await fleet.settle()
    expect(granted(waits)).toEqual([1, 0, 0])
    const others = [1, 2, 3].map(() => other.ask())
    await fleet.clock.advanceAsync(2_000)
    expect(granted(others)).toEqual([1, 1, 0])
  })
})
