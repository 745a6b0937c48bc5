import { describe, expect, test } from 'vitest'
import type { ExchangeReply, GroupSpec } from '../../src/limits/store.js'
import { groupOf, rate, slots } from './driver.js'
import { contract, countsOf, journalOf, Process } from './process.js'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
const LEARN_MS = 10_000
const HEARSAY_MS = 1_000

contract('learning', (world) => {
  const requests = (limit: number) => groupOf(rate('r', limit, MINUTE_MS))
  const open = (spec: GroupSpec, name = 'a') => Process.open(world(), spec, name)
  const advance = (ms: number) => {
    world().instant.nowMs += ms
  }
  const bucket = () => Math.floor(world().instant.nowMs / 100)

  /** A fleet that knows an epoch and spent two requests each. */
  const fleet = async (spec: GroupSpec, ...names: string[]) => {
    const processes: Process[] = []
    for (const name of names) processes.push(await open(spec, name))
    for (const process of processes) await process.ask([{ count: 2 }])
    return processes
  }
  const journal = (roster: readonly string[], ...charges: [number, number, number][]) => ({
    journal: journalOf({ roster, charges }),
  })

  test('a first start on an empty store grants at once', async () => {
    const a = await open(requests(5))
    const reply = await a.ask([{}])
    expect(reply).toMatchObject({ fenced: false, epoch: a.epoch, version: 1, learnUntilMs: 0, retryAtMs: 0 })
    expect(countsOf(reply)).toEqual({ f: 1 })
  })

  test('whoever comes first to a store that lost its state waits a moment for those who knew it', async () => {
    const [a] = (await fleet(requests(5), 'a')) as [Process]
    await world().lose()
    const b = await open(requests(5), 'b')
    const startMs = b.nowMs
    const reply = await b.ask([{}])
    expect(reply).toMatchObject({ grants: [], learnUntilMs: startMs + HEARSAY_MS, retryAtMs: startMs + HEARSAY_MS })
    // All who listen are woken to tell what they know.
    await expect.poll(() => a.wakes).toBeGreaterThan(0)
    advance(HEARSAY_MS)
    expect(await b.ask([{}])).toMatchObject({ learnUntilMs: 0, grants: [['f', b.nowMs, 0]] })
  })

  test('a survivor that closed is waited for no more', async () => {
    const [a] = (await fleet(requests(5), 'a')) as [Process]
    await a.store.close()
    await world().lose()
    const b = await open(requests(5), 'b')
    expect(await b.ask([{}])).toMatchObject({ learnUntilMs: 0, grants: [['f', b.nowMs, 0]] })
  })

  test('it opens a moment after all of the last known roster have replayed, and counts what they spent', async () => {
    const spec = requests(5)
    const [a, b] = (await fleet(spec, 'a', 'b')) as [Process, Process]
    const spentAt = bucket()
    await world().lose()
    advance(100)
    const reply = await a.rejoin([{ count: 5 }], journal(['a', 'b'], [0, spentAt, 2]))
    expect(reply).toMatchObject({ grants: [], learnUntilMs: a.nowMs + LEARN_MS })
    expect(countsOf(await b.rejoin([{ count: 5 }], journal(['a', 'b'], [0, spentAt, 2])))).toEqual({})
    // Those that nobody knew of have a moment to come, too.
    world().instant.nowMs += HEARSAY_MS - 1
    expect(await a.ask()).toMatchObject({ learnUntilMs: a.nowMs + LEARN_MS - HEARSAY_MS + 1, retryAtMs: a.nowMs + 1 })
    const before = b.wakes
    advance(1)
    expect((await a.ask()).learnUntilMs).toBe(0)
    await expect.poll(() => b.wakes).toBe(before + 1)
    expect(await a.used()).toEqual([5])
  })

  test('what one that never comes may have spent counts as spent until its window ends', async () => {
    const spec = requests(5)
    const [a] = (await fleet(spec, 'a', 'b')) as [Process]
    const spentAt = bucket()
    await world().lose()
    const startMs = a.nowMs
    await a.rejoin([{ count: 5 }], journal(['a', 'b'], [0, spentAt, 2]))
    advance(LEARN_MS)
    expect(await a.ask()).toMatchObject({ grants: [], learnUntilMs: 0 })
    expect(await a.used()).toEqual([5])
    // Its last grant may have been dated a horizon ahead.
    world().instant.nowMs = startMs + 1_000 + MINUTE_MS + 100 + 200
    expect(countsOf(await a.ask())).toEqual({ f: 5 })
  })

  test('what it may have spent counts for nothing where learning ends after its window', async () => {
    const spec = groupOf(rate('r', 10, 5_000))
    const [a] = (await fleet(spec, 'a', 'b')) as [Process]
    await world().lose()
    await a.ask()
    await a.rejoin([], journal(['a', 'b']))
    advance(30_000)
    // Nobody is told to wait for it.
    expect(await a.ask()).toMatchObject({ learnUntilMs: 0, queues: [] })
    expect(countsOf(await a.ask([{ count: 10 }]))).toEqual({ f: 10 })
  })

  test('another server that answers may lack what was counted last: nobody is granted anything before all have told', async () => {
    const spec = requests(5)
    const [a, b] = (await fleet(spec, 'a', 'b')) as [Process, Process]
    const spentAt = bucket()
    world().failOver()
    expect(await a.ask([{}])).toMatchObject({ fenced: true, grants: [], learnUntilMs: a.nowMs + LEARN_MS })
    await a.rejoin([{}], journal(['a', 'b'], [0, spentAt, 2]))
    advance(HEARSAY_MS)
    expect(await a.ask([{ count: 5 }])).toMatchObject({ grants: [], fenced: false })
    await b.rejoin([], journal(['a', 'b'], [0, spentAt, 2]))
    expect(countsOf(await a.ask([{ count: 5 }]))).toEqual({ f: 1 })
    expect(await a.used()).toEqual([5])
  })

  test('another server is found by a process that knew no epoch, too', async () => {
    const spec = requests(5)
    const [a] = (await fleet(spec, 'a')) as [Process]
    const spentAt = bucket()
    world().failOver()
    const c = await open(spec, 'c')
    expect(await c.ask([{}])).toMatchObject({ fenced: false, grants: [], learnUntilMs: c.nowMs + LEARN_MS })
    expect((await a.ask()).fenced).toBe(true)
    await a.rejoin([], journal(['a'], [0, spentAt, 2]))
    advance(HEARSAY_MS)
    await a.ask()
    expect(await a.used()).toEqual([2])
  })

  test('what is lost is counted by the limit as it was, though an operator lowers it while learning', async () => {
    const [a] = (await fleet(requests(9), 'a', 'b')) as [Process]
    const spentAt = bucket()
    await world().lose()
    await a.rejoin([{ count: 9 }], journal(['a', 'b'], [0, spentAt, 2]))
    await a.store.control({ type: 'limit', id: 'r', base: 9, limit: 3 })
    advance(LEARN_MS)
    await a.ask()
    await a.store.control({ type: 'limit', id: 'r', base: 9, limit: 9 })
    expect(await a.ask()).toMatchObject({ grants: [], learnUntilMs: 0 })
    expect(await a.used()).toEqual([9])
  })

  describe('one that is cut off while the state is lost', () => {
    const ISOLATED_MS = 30_000
    const LEASE_MS = 10_000
    const isolated = { leaseMs: LEASE_MS, isolatedMs: ISOLATED_MS }
    const free = (process: Process) => process.ask([{ count: 20 }], isolated).then((reply) => countsOf(reply).f ?? 0)

    /** Three that were told floors of 2 each. */
    const threeOnFloors = async () => {
      const spec = groupOf(slots('c', 6))
      const [a, b, c] = [await open(spec, 'a'), await open(spec, 'b'), await open(spec, 'c')]
      for (let i = 0; i < 3; i++) for (const process of [a, b, c]) await process.ask([], isolated)
      expect([a.floors, b.floors, c.floors]).toEqual([[2], [2], [2]])
      return [a, b, c]
    }
    /** Learning goes by, and leases are renewed. */
    const learn = async (...processes: Process[]) => {
      for (let i = 0; i < 2; i++) {
        advance(LEARN_MS / 2)
        for (const process of processes) await process.ask([], isolated)
      }
    }
    const back = (process: Process) =>
      process.rejoin([], { ...isolated, ...journal(['a', 'b', 'c']), floors: process.floors })

    test.each(['lost', 'distrusted'] as const)('keeps its floor until it can no longer live on it: %s', async (how) => {
      const [a, b] = (await threeOnFloors()) as [Process, Process]
      if (how === 'lost') await world().lose()
      else {
        // All leases are over by the clock that jumped, and what was set aside.
        advance(120_000)
        await a.rejoin([], { ...isolated, ...journal(['a', 'b', 'c']), floors: a.floors, distrust: true })
      }
      const startMs = a.nowMs
      await back(a)
      await back(b)
      // Floors grow for nobody meanwhile.
      expect([a.floors, b.floors]).toEqual([[2], [2]])
      await learn(a, b)
      expect(await free(a)).toBe(4)
      for (let i = 0; i < 5; i++) {
        await a.ask([], isolated)
        expect(a.floors).toEqual([2])
        await b.ask([], isolated)
        advance(LEASE_MS / 2)
      }
      world().instant.nowMs = startMs + LEASE_MS + ISOLATED_MS - 1
      await b.ask([], isolated)
      expect(await free(a)).toBe(0)
      advance(1)
      expect(await free(a)).toBe(2)
    })

    test('gives it back when it comes back, whether or not it has anything to tell', async () => {
      const [a, b, c] = (await threeOnFloors()) as [Process, Process, Process]
      await world().lose()
      await back(a)
      await learn(a)
      // Two are missing.
      expect(await free(a)).toBe(2)
      await back(b)
      expect(await free(a)).toBe(2)
      c.epoch = ''
      await c.rejoin([], { ...isolated, floors: c.floors })
      expect(await free(a)).toBe(2)
    })

    test('is remembered should the state be lost again', async () => {
      const [a] = (await threeOnFloors()) as [Process]
      await world().lose()
      const roster = (await back(a)).share?.roster
      expect(roster).toEqual(['a', 'b', 'c'])
      await learn(a)
      advance(LEASE_MS / 2)
      await a.ask([], isolated)
      await world().lose()
      await a.rejoin([], { ...isolated, ...journal(a.roster), floors: a.floors })
      await learn(a)
      expect(await free(a)).toBe(2)
    })

    test('whoever is new has no floor until it is known what is left', async () => {
      const [a] = (await threeOnFloors()) as [Process]
      await world().lose()
      const d = await open(a.spec, 'd')
      await d.ask([], isolated)
      expect(d.floors).toEqual([0])
      advance(HEARSAY_MS)
      await d.ask([], isolated)
      expect(d.floors).toEqual([6])
    })
  })

  test('a late survivor is still counted', async () => {
    const spec = requests(9)
    const [a, b] = (await fleet(spec, 'a', 'b')) as [Process, Process]
    const spentAt = bucket()
    await world().lose()
    await a.rejoin([], journal(['a'], [0, spentAt, 2]))
    expect(await a.used()).toEqual([2])
    await b.rejoin([], journal(['a', 'b'], [0, spentAt, 2]))
    expect(await a.used()).toEqual([4])
  })

  test('a long window is restored from a copy of its sum, and given up no further than a short one allows', async () => {
    const spec = groupOf(
      rate('pool:p:tokens:60000', 50, MINUTE_MS, 'tokens'),
      rate('pool:p:tokens:86400000', 1_000, DAY_MS, 'tokens'),
    )
    const a = await open(spec)
    await a.ask([{ costs: [40] }])
    expect((await a.ask()).used).toEqual([[1, 40]])
    await world().lose()
    const used = { used: [[1, 300] as const], roster: ['a', 'gone'] }
    await a.rejoin([], { journal: journalOf({ ...used, charges: [[1, Math.floor(a.nowMs / 144_000), 40]] }) })
    advance(LEARN_MS)
    await a.ask()
    expect(await a.used()).toEqual([50, 300 + 2 * 50])
  })

  test('what operators and providers said comes back with the survivors', async () => {
    const spec = groupOf(rate('r', 9, MINUTE_MS), slots('c', 8))
    const a = await open(spec)
    await a.ask()
    await world().lose()
    const untilMs = a.nowMs + 30_000
    const said = {
      paused: [1],
      coolDowns: [[0, untilMs] as const],
      overrides: [[0, 7] as const],
      poolWords: [[1, a.nowMs] as const],
      limitWords: [[0, a.nowMs] as const],
      ceilings: [[1, 3] as const],
    }
    const reply = await a.rejoin([], { journal: journalOf({ roster: ['a'], ...said }) })
    expect(reply).toMatchObject({ paused: [1], coolDowns: [[0, untilMs, 1]], overrides: [[0, 7]], ceilings: [[1, 3]] })
  })

  describe("of operators' words the newest counts, in whatever order survivors come", () => {
    const spec = groupOf(rate('r', 9, MINUTE_MS))
    const said = ({ paused, overrides, coolDowns, poolWords, limitWords }: ExchangeReply) => ({
      ...{ paused, overrides, poolWords, limitWords, coolDowns: coolDowns.map(([pool, ms]) => [pool, ms] as const) },
    })
    /** What `stale` knew of, then what both know that `fresh` heard later. */
    const story = async () => {
      const [stale, fresh] = [await open(spec, 'stale'), await open(spec, 'fresh')]
      await fresh.ask()
      await stale.store.control({ type: 'pause', pool: 'p0' })
      await stale.store.control({ type: 'limit', id: 'r', base: 9, limit: 3 })
      const before = said(await stale.ask([], { coolDowns: [[1, stale.nowMs + MINUTE_MS]] }))
      // In the same ms, and back in time.
      await fresh.store.control({ type: 'resume', pool: 'p0' })
      await fresh.store.control({ type: 'resume', pool: 'p1' })
      advance(-500)
      await fresh.store.control({ type: 'limit', id: 'r', base: 9, limit: 9 })
      const after = said(await fresh.ask())
      return { stale, fresh, before, after }
    }
    const nothing = { paused: [], overrides: [], coolDowns: [] }

    test.each([['stale', 'fresh'] as const, ['fresh', 'stale'] as const])('%s, then %s', async (...order) => {
      const { stale, fresh, before, after } = await story()
      expect(after).toMatchObject(nothing)
      await world().lose()
      const journals = {
        stale: journalOf({ roster: ['stale'], ...before }),
        fresh: journalOf({ roster: ['fresh'], ...after }),
      }
      for (const name of order) await { stale, fresh }[name].rejoin([], { journal: journals[name] })
      expect(said(await fresh.ask())).toEqual(after)
    })

    test('what is said while learning is newer than what survivors remember', async () => {
      const { stale, before } = await story()
      await world().lose()
      advance(1_000)
      await stale.store.control({ type: 'resume', pool: 'p0' })
      await stale.store.control({ type: 'resume', pool: 'p1' })
      await stale.store.control({ type: 'limit', id: 'r', base: 9, limit: 9 })
      expect(await stale.rejoin([], { journal: journalOf({ roster: ['stale'], ...before }) })).toMatchObject(nothing)
    })

    test('a newly deployed limit is newer than a word about the old one', async () => {
      const { stale, before } = await story()
      await (await open(groupOf(rate('r', 5, MINUTE_MS)), 'new')).ask()
      await world().lose()
      expect((await stale.rejoin([], { journal: journalOf({ roster: [], ...before }) })).overrides).toEqual([[0, 3]])
      const next = await open(groupOf(rate('r', 5, MINUTE_MS)), 'new')
      expect((await next.ask()).overrides).toEqual([])
      expect((await stale.ask()).overrides).toEqual([[0, 5]])
    })
  })

  test('what was dated by the clock from before a jump counts as long as it would have', async () => {
    const a = await open(requests(5))
    await a.ask()
    const charges = [[0, bucket(), 2]] as const
    const before = a.nowMs
    advance(2 * MINUTE_MS)
    await world().lose()
    await a.rejoin([], { journal: journalOf({ roster: ['a'], charges, storeMs: before }) })
    expect(await a.used()).toEqual([2])
    advance(MINUTE_MS)
    expect(await a.used()).toEqual([2])
    advance(1_000)
    expect(await a.used()).toEqual([0])
  })

  test('what lies further ahead than anything can be dated counts from now: the clock was set back', async () => {
    const a = await open(requests(5))
    await a.ask()
    await world().lose()
    const ahead = Math.floor((a.nowMs + 26_000) / 100)
    await a.rejoin([], journal(['a'], [0, ahead, 2]))
    expect(await a.used()).toEqual([2])
    advance(MINUTE_MS + 1_000 + 100 + 200)
    expect(await a.used()).toEqual([0])
  })

  test.each([
    ['a version it never gave', { knownVersion: 99 }, 0],
    ['a batch that it has not seen', {}, 1],
    ['a clock that cannot be trusted', { distrust: true }, 0],
  ])('%s shows that the state was lost: a new epoch, and all must replay', async (_, more, skip) => {
    const spec = requests(9)
    const [a, b] = (await fleet(spec, 'a', 'b')) as [Process, Process]
    const former = a.epoch
    const before = b.wakes
    a.seq += skip
    const reply = await a.ask([{}], more)
    expect(reply).toMatchObject({ fenced: true, version: 1, learnUntilMs: a.nowMs + LEARN_MS })
    expect(reply.epoch).not.toBe(former)
    await expect.poll(() => b.wakes).toBe(before + 1)
    expect((await b.ask()).fenced).toBe(true)
    const spentAt = bucket()
    await a.rejoin([], journal(['a', 'b'], [0, spentAt, 2]))
    await b.rejoin([], journal(['a', 'b'], [0, spentAt, 2]))
    advance(HEARSAY_MS)
    expect((await b.ask()).learnUntilMs).toBe(0)
    expect(await a.used()).toEqual([4])
  })

  test('a member that spent and is not remembered shows it too', async () => {
    const [a] = (await fleet(requests(9), 'a')) as [Process]
    const b = await open(requests(9), 'b')
    b.epoch = a.epoch
    const reply = await b.rejoin([], journal(['a', 'b'], [0, bucket(), 2]))
    expect(reply).toMatchObject({ version: 1, learnUntilMs: a.nowMs + LEARN_MS })
  })

  test('who was idle for so long that only a day still counts what it spent may be forgotten: nothing is lost', async () => {
    const spec = groupOf(rate('r', 9, MINUTE_MS), rate('d', 99, DAY_MS))
    const leaseMs = 9_000
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    for (const process of [a, b]) await process.ask([{ count: 2 }], { leaseMs })
    const spentAt = world().instant.nowMs
    advance(5 * MINUTE_MS)
    const memory = journal(['a', 'b'], [1, Math.floor(spentAt / (DAY_MS / 600)), 2])
    for (const process of [a, b]) {
      const reply = await process.rejoin([], { leaseMs, ...memory })
      expect(reply.learnUntilMs).toBe(0)
    }
    expect(await a.used()).toEqual([0, 4])
  })

  test('so does a reply that it was given and that is not remembered, whatever happened since', async () => {
    const [a, b] = (await fleet(requests(9), 'a', 'b')) as [Process, Process]
    // A former incarnation is known, but not that another was answered after it.
    const version = b.version + 1
    for (let i = 0; i < 3; i++) await a.ask()
    b.version = version
    expect((await b.rejoin([], journal(['a', 'b'], [0, bucket(), 2]))).learnUntilMs).toBe(b.nowMs + LEARN_MS)
  })

  test('an epoch opened after the one that is there shows an older copy, an earlier one does not', async () => {
    const [a] = (await fleet(requests(9), 'a')) as [Process]
    const b = await open(requests(9), 'b')
    b.epoch = '0-former'
    expect(await b.rejoin()).toMatchObject({ epoch: a.epoch, learnUntilMs: 0 })
    b.epoch = '7-later'
    expect((await b.rejoin()).epoch).toMatch(/^8-/)
  })
})
