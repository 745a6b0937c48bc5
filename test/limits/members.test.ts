import { expect, test } from 'vitest'
import type { GroupSpec } from '../../src/limits/store.js'
import { groupOf, rate, slots } from './driver.js'
import { contract, countsOf, datesOf, Process } from './process.js'

const MINUTE_MS = 60_000
const LEASE_MS = 10_000
const lease = { leaseMs: LEASE_MS }

contract('members', (world) => {
  const open = (spec: GroupSpec, name = 'a') => Process.open(world(), spec, name)
  const advance = (ms: number) => {
    world().instant.nowMs += ms
  }

  test('a repeated batch is answered from memory, without effect', async () => {
    const spec = groupOf(rate('t', 1000, MINUTE_MS, 'tokens'), slots('c', 2))
    const a = await open(spec)
    const first = await a.ask([{ costs: [500] }])
    expect(await a.repeat()).toEqual(first)
    expect(await a.used()).toEqual([500, 1])
    const bucket = Math.floor(a.nowMs / 100)
    const second = await a.ask([], { freed: [[1, 1]], adjustments: [[0, bucket, -100]] })
    advance(5)
    expect(await a.repeat()).toEqual(second)
    expect(await a.used()).toEqual([400, 0])
  })

  test("a dead process's slots return at its lease's end, its rate charges stay, and it is fenced", async () => {
    const spec = groupOf(rate('r', 3, MINUTE_MS), slots('c', 1))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await a.ask([{}], lease)
    advance(LEASE_MS - 1)
    expect((await b.ask([{}])).grants).toEqual([])
    advance(1)
    expect(countsOf(await b.ask())).toEqual({ f: 1 })
    expect(await b.used()).toEqual([2, 1])
    expect(await a.ask([{}])).toMatchObject({ fenced: true, grants: [], share: null })
    expect((await b.store.usage()).processes).toEqual({ 'b.1': { c: 1 } })
  })

  test('slots in mail that is let lie come back, whoever takes it back: also one that keeps no such limit', async () => {
    const [known, unknown] = [slots('c', 1), rate('r', 9, MINUTE_MS)]
    const spec = groupOf(known)
    const [a, b, stranger] = [await open(spec, 'a'), await open(spec, 'b'), await open(groupOf(unknown), 'x')]
    await a.ask([{}])
    await b.ask([{}])
    await a.ask([], { freed: [[0, 1]] })
    expect((await a.store.usage()).processes).toMatchObject({ 'b.1': { c: 1 } })
    advance(1_000)
    await stranger.ask()
    expect(await a.used()).toEqual([0])
    expect(countsOf(await b.ask([{}]))).toEqual({ f: 1 })
  })

  test('each batch renews the lease', async () => {
    const spec = groupOf(slots('c', 1))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await a.ask([{}], lease)
    for (let i = 0; i < 3; i++) {
      advance(LEASE_MS - 1)
      await a.ask([], lease)
      expect((await b.ask([{}])).grants).toEqual([])
    }
  })

  test('with a hold, slots return no earlier than the calls end', async () => {
    const spec = groupOf(slots('c', 1))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await a.ask([{}], { ...lease, holdUntilMs: a.nowMs + 30_000 })
    advance(29_999)
    expect((await b.ask([{}])).grants).toEqual([])
    expect((await b.store.usage()).processes).toMatchObject({ 'a.1': { c: 1 } })
    advance(1)
    expect(countsOf(await b.ask())).toEqual({ f: 1 })
  })

  test('who dies waits for nothing any more: its flows and its mail are gone', async () => {
    const spec = groupOf(rate('r', 100, MINUTE_MS), slots('c', 1))
    const [a, b, c] = [await open(spec, 'a'), await open(spec, 'b'), await open(spec, 'c')]
    await a.ask([{ key: 'a' }])
    await b.ask([{ count: 5 }], lease)
    advance(LEASE_MS - 100)
    await a.ask([], { freed: [[1, 1]] })
    expect(await a.used()).toEqual([2, 1])
    advance(100)
    expect((await c.ask()).queues).toEqual([])
    expect(await a.used()).toEqual([1, 0])
    expect((await world().audit()).held).toEqual({})
  })

  test('a new incarnation takes the place of all former ones of its name, with the slots of its running calls', async () => {
    const spec = groupOf(slots('c', 3))
    const a = await open(spec)
    await a.ask([{ count: 5 }], lease)
    expect(await a.used()).toEqual([3])
    const reply = await a.rejoin([{ count: 5 }], { held: [[0, 2]] })
    expect(countsOf(reply)).toEqual({ f: 1 })
    expect((await a.store.usage()).processes).toEqual({ 'a.2': { c: 3 } })
  })

  test('a fenced process takes the slots of its running calls again, over the limit if need be', async () => {
    const spec = groupOf(slots('c', 1))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await a.ask([{}], lease)
    advance(LEASE_MS)
    await b.ask([{}])
    expect((await a.ask()).fenced).toBe(true)
    await a.rejoin([{}], { held: [[0, 1]] })
    expect(await a.used()).toEqual([2])
    expect((await a.ask([{}], { freed: [[0, 1]] })).grants).toEqual([])
    await b.ask([], { freed: [[0, 1]] })
    expect(countsOf(await a.ask())).toEqual({ f: 1 })
  })

  test('who leaves holds nothing, and its name is remembered as long as what it spent', async () => {
    const spec = groupOf(rate('r', 9, MINUTE_MS), slots('c', 1))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await b.ask()
    await a.ask([{ count: 3 }], lease)
    expect(await a.ask([], { ...lease, leave: true })).toMatchObject({ fenced: false, share: null })
    expect((await b.ask()).share).toEqual({ roster: ['a', 'b'], floors: [9, 1] })
    expect(await b.used()).toEqual([1, 0])
    advance(LEASE_MS + MINUTE_MS + 1_199)
    expect((await b.ask()).share).toBeNull()
    advance(1)
    expect((await b.ask()).share).toEqual({ roster: ['b'], floors: [9, 1] })
  })

  test('floors are whole shares by largest remainder, never more than the others leave', async () => {
    const spec = groupOf(rate('r', 10, MINUTE_MS), slots('c', 1))
    const [a, b, c] = [await open(spec, 'a'), await open(spec, 'b'), await open(spec, 'c')]
    expect((await a.ask()).share).toEqual({ roster: ['a'], floors: [10, 1] })
    // Nobody's floor may exceed what the others were told: b's grows once a knows of it.
    expect((await b.ask()).share).toEqual({ roster: ['a', 'b'], floors: [0, 0] })
    expect((await a.ask()).share).toEqual({ roster: ['a', 'b'], floors: [5, 1] })
    // Its next batch shows that it heard.
    expect((await b.ask()).share).toEqual({ roster: ['a', 'b'], floors: [0, 0] })
    expect((await a.ask()).share).toBeNull()
    expect((await b.ask()).share).toEqual({ roster: ['a', 'b'], floors: [5, 0] })
    expect((await b.ask()).share).toBeNull()
    await c.ask()
    expect((await a.ask()).share).toEqual({ roster: ['a', 'b', 'c'], floors: [4, 1] })
    expect((await b.ask()).share?.floors).toEqual([3, 0])
    expect((await c.ask()).share?.floors).toEqual([0, 0])
    await a.ask()
    expect((await b.ask()).share).toBeNull()
    expect((await c.ask()).share?.floors).toEqual([3, 0])
    expect((await a.ask()).share).toBeNull()
  })

  test('what a process that is cut off may use is set aside after its lease, and counts as spent at its end', async () => {
    const spec = groupOf(rate('r', 10, MINUTE_MS))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    const isolated = { leaseMs: LEASE_MS, isolatedMs: 30_000 }
    await a.ask([], isolated)
    await b.ask()
    await a.ask([], isolated)
    await a.ask([], isolated)
    expect((await b.ask()).share?.floors).toEqual([5])
    advance(LEASE_MS)
    expect(countsOf(await b.ask([{ count: 20 }]))).toEqual({ f: 5 })
    // Beside what is set aside one more is promised to who is first in line.
    expect((await b.store.usage()).limits[0]).toMatchObject({ used: 5, reserved: 5 + 1, limit: 10 })
    advance(29_999)
    expect((await b.ask()).grants).toEqual([])
    // What it sent last counts at the provider until its window ends.
    advance(1)
    expect((await b.ask()).grants).toEqual([])
    expect((await b.store.usage()).limits[0]).toMatchObject({ used: 10, reserved: 1 })
    const countsUntilMs = b.nowMs + MINUTE_MS + 300
    advance(MINUTE_MS)
    // Its own five are back by then.
    const dates = datesOf(await b.ask())
    expect(dates).toHaveLength(10)
    expect(dates.filter((atMs) => atMs < countsUntilMs)).toHaveLength(5)
  })

  test('what is late from an incarnation whose place was taken says nothing any more', async () => {
    const spec = groupOf(rate('t', 100, MINUTE_MS, 'tokens'), slots('c', 3))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await b.ask()
    await a.ask([{ costs: [10] }])
    const first = a.last!
    await a.rejoin([], { held: [[1, 1]] })
    const late = { ...first, adjustments: [[0, Math.floor(a.nowMs / 100), -10]] as const }
    expect(await a.store.exchange(late)).toMatchObject({ fenced: true, grants: [] })
    // Its word against the clock is no reason to learn either.
    const other = { ...late, seq: 2, distrust: true }
    expect(await a.store.exchange(other)).toMatchObject({ fenced: true, epoch: a.epoch, learnUntilMs: 0 })
    expect(await a.used()).toEqual([10, 1])
    expect((await a.store.usage()).processes).toEqual({ 'a.2': { c: 1 }, 'b.1': {} })
    expect((await a.ask()).fenced).toBe(false)
  })

  test('a late first batch does not bring back who left, nor who died', async () => {
    const spec = groupOf(rate('r', 100, MINUTE_MS), slots('c', 3))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await a.ask([{}], lease)
    const first = a.last!
    await a.ask([], { ...lease, leave: true })
    expect(await a.store.exchange(first)).toMatchObject({ fenced: true })
    await b.ask([{}], lease)
    advance(LEASE_MS)
    await a.rejoin()
    expect(await b.repeat()).toMatchObject({ fenced: true })
    expect(await a.used()).toEqual([2, 0])
  })

  test('of what it knew before and was told last the larger is set aside, until it is known to have heard', async () => {
    const spec = groupOf(rate('r', 10, MINUTE_MS))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    const isolated = { leaseMs: LEASE_MS, isolatedMs: 30_000 }
    await a.ask([], isolated)
    await b.ask()
    // Its reply, with a floor of 5, may be lost.
    await a.ask([], isolated)
    advance(LEASE_MS)
    expect((await b.ask([{ count: 20 }])).grants).toEqual([])
    // It comes up anew, and that reply may be lost too.
    await a.rejoin([], { ...isolated, floors: [10] })
    expect((await b.ask()).share?.floors).toEqual([0])
    await a.ask([], isolated)
    expect((await b.ask()).share?.floors).toEqual([5])
  })

  test('one that comes back takes its set-aside share over again', async () => {
    const spec = groupOf(rate('r', 10, MINUTE_MS))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await a.ask([], { leaseMs: LEASE_MS, isolatedMs: 30_000 })
    await b.ask()
    advance(LEASE_MS)
    expect((await b.ask([{ count: 20 }])).grants).toEqual([])
    await a.rejoin()
    expect(countsOf(await b.ask())).toEqual({ f: 10 })
  })

  test('one group is served to processes that are configured differently', async () => {
    const shared = { namespace: 'test', group: 'g' }
    const [r, c, x] = [rate('r', 10, MINUTE_MS), slots('c', 5), rate('x', 1, MINUTE_MS)]
    const wide = { ...shared, pools: ['p0', 'p1'], limits: [r, c, x], draws: [[0, 1], [0]] }
    const narrow = { ...shared, pools: ['p1', 'p0'], limits: [c, r], draws: [[1], [1, 0]] }
    const [a, b] = [await open(wide, 'a'), await open(narrow, 'b')]
    await a.ask([{ key: 'x', draws: [0, 1, 2], count: 3 }])
    // Only its own process may serve what draws on a limit that others don't know.
    const reply = await b.ask([{ key: 'p0', pool: 1, count: 20 }])
    expect(countsOf(reply)).toEqual({ p0: 4 })
    expect(reply.queues).toEqual([[1, 0, expect.any(Number), 2]])
    expect((await a.store.usage()).limits).toMatchObject([{ used: 5 }, { used: 5 }, { used: 1 }])
  })
})
