import { expect, test } from 'vitest'
import { groupOf, rate, slots } from './driver.js'
import { contract, countsOf, datesOf, Process } from './process.js'

const MINUTE_MS = 60_000

contract('fairness', (world) => {
  const open = (spec: ReturnType<typeof groupOf>, name = 'a') => Process.open(world(), spec, name)
  const advance = (ms: number) => {
    world().instant.nowMs += ms
  }
  /** A process that takes all slots and nothing else. */
  const hog = async (spec: ReturnType<typeof groupOf>, count: number) => {
    const process = await open(spec, 'hog')
    await process.ask([{ key: 'hog', count }])
    return process
  }

  test('tenants share by weight, whatever each has waiting', async () => {
    const a = await open(groupOf(rate('r', 40, MINUTE_MS)))
    const reply = await a.ask([
      { key: 'batch', tenant: 'batch', tenantWeight: 1, count: 400 },
      { key: 'web', tenant: 'web', tenantWeight: 3, count: 30 },
    ])
    expect(countsOf(reply)).toEqual({ batch: 10, web: 30 })
  })

  test('within a tenant processes share alike', async () => {
    const spec = groupOf(rate('r', 1, MINUTE_MS))
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await a.ask([{ count: 1 }])
    await a.ask([{ count: 90 }])
    await b.ask([{ count: 9 }])
    await a.store.control({ type: 'limit', id: 'r', base: 1, limit: 19 })
    const reply = await a.ask()
    expect(countsOf(reply)).toEqual({ f: 9 })
    expect(countsOf(await b.ask())).toEqual({ f: 9 })
  })

  test('a service correction moves who goes next', async () => {
    const spec = groupOf(slots('c', 1))
    const first = await hog(spec, 1)
    const a = await open(spec)
    await a.ask([
      { key: 'x', tenant: 'x', count: 3 },
      { key: 'y', tenant: 'y', count: 3 },
    ])
    await first.ask([], { freed: [[0, 1]] })
    expect(countsOf(await a.ask())).toEqual({ x: 1 })
    // The call took no time at all, so x is owed the next one too.
    expect(countsOf(await a.ask([], { freed: [[0, 1]], service: [[0, 'x', 'x', -1_000_000]] }))).toEqual({ x: 1 })
    expect(countsOf(await a.ask([], { freed: [[0, 1]] }))).toEqual({ y: 1 })
  })

  test('who was idle gets no credit for it', async () => {
    const spec = groupOf(slots('c', 1))
    await hog(spec, 1)
    const a = await open(spec)
    const busy = { key: 'busy', tenant: 'busy', count: 50 }
    await a.ask([busy])
    for (let i = 0; i < 10; i++) await a.ask([], i === 0 ? {} : { freed: [[0, 1]] })
    await a.ask([{ key: 'late', tenant: 'late', count: 50 }])
    const turns: string[] = []
    for (let i = 0; i < 6; i++) turns.push(...Object.keys(countsOf(await a.ask([], { freed: [[0, 1]] }))))
    expect(turns.filter((key) => key === 'late')).toHaveLength(3)
  })

  test('a high class goes first, but a low one that waited long enough weighs as much', async () => {
    const spec = groupOf(rate('r', 25, MINUTE_MS))
    const a = await open(spec)
    const low = (sinceMs: number) => ({ key: 'low', classWeight: 1, count: 25, sinceMs })
    const high = { key: 'high', classWeight: 4, count: 25 }
    expect(countsOf(await a.ask([low(a.nowMs), high]))).toEqual({ low: 5, high: 20 })
    advance(120_000)
    const reply = await a.ask([low(a.nowMs - MINUTE_MS), high])
    expect(Math.abs(countsOf(reply).low! - countsOf(reply).high!)).toBeLessThanOrEqual(1)
  })

  test('among equals one that waited long gets no more than another, nor does a class above all others', async () => {
    const a = await open(groupOf(rate('r', 24, MINUTE_MS)))
    advance(200_000)
    const flow = (key: string, waitedMs: number, classWeight = 2) => {
      return { key, classWeight, count: 24, sinceMs: a.nowMs - waitedMs }
    }
    expect(countsOf(await a.ask([flow('old', 120_000), flow('young', 0)]))).toEqual({ old: 12, young: 12 })
    advance(120_000)
    const reply = await a.ask([flow('old', 120_000), flow('young', 0), flow('low', 0, 1)])
    expect(Math.abs(countsOf(reply).old! - countsOf(reply).young!)).toBeLessThanOrEqual(1)
  })

  test('within a flow it is first come, first served', async () => {
    const a = await open(groupOf(rate('t', 100, MINUTE_MS, 'tokens')))
    const reply = await a.ask([{ costs: [70, 40, 10] }])
    expect(reply.grants).toEqual([['f', a.nowMs, 70]])
  })

  test('what another process is entitled to lies in its mailbox; the first of it wakes that process, and only that', async () => {
    const spec = groupOf(slots('c', 2))
    const first = await hog(spec, 2)
    const [b, c] = [await open(spec, 'b'), await open(spec, 'c')]
    await b.ask([{ count: 2 }])
    await c.ask([{ count: 2 }])
    const wakes = () => [first.wakes, b.wakes, c.wakes]
    const before = wakes()
    await first.ask([], { freed: [[0, 1]] })
    await expect.poll(() => wakes().map((count, i) => count - before[i]!)).toEqual([0, 1, 0])
    const reply = await b.ask()
    expect(datesOf(reply)).toEqual([b.nowMs])
    // It was charged when it was given.
    expect((await b.store.usage()).processes).toMatchObject({ 'hog.1': { c: 1 }, 'b.1': { c: 1 } })
    expect((await b.ask()).grants).toEqual([])
  })

  test('mail that was given meanwhile is not stated twice', async () => {
    const spec = groupOf(slots('c', 2))
    const first = await hog(spec, 2)
    const b = await open(spec, 'b')
    await b.ask([{ count: 2 }])
    await first.ask([], { freed: [[0, 1]] })
    // It states both, not knowing of its mail.
    const reply = await b.ask([{ count: 2 }])
    expect(countsOf(reply)).toEqual({ f: 1 })
    expect(reply.queues).toMatchObject([[0, 0, expect.any(Number), 1]])
    await first.ask([], { freed: [[0, 1]] })
    expect(countsOf(await b.ask())).toEqual({ f: 1 })
    expect((await b.ask()).queues).toEqual([])
  })

  test('mail not fetched in time is taken back, and its process must state its flows again', async () => {
    const spec = groupOf(rate('r', 100, MINUTE_MS), slots('c', 1))
    const first = await hog(spec, 1)
    const [b, c] = [await open(spec, 'b'), await open(spec, 'c')]
    await b.ask([{ count: 1 }])
    await c.ask([{ count: 1 }])
    await first.ask([], { freed: [[1, 1]] })
    advance(249)
    expect((await c.ask()).grants).toEqual([])
    advance(1)
    expect(countsOf(await c.ask())).toEqual({ f: 1 })
    expect(await c.used()).toEqual([2, 1])
    const reply = await b.ask()
    expect(reply).toMatchObject({ grants: [], restate: true })
    expect(await b.ask([{ count: 1 }])).toMatchObject({ grants: [], restate: false })
    await c.ask([], { freed: [[1, 1]] })
    expect(countsOf(await b.ask())).toEqual({ f: 1 })
  })

  test('a process hears how many freed slots it may hand over: until it is a round ahead of everybody else', async () => {
    const spec = groupOf(slots('c', 2))
    await hog(spec, 2)
    const [b, c] = [await open(spec, 'b'), await open(spec, 'c')]
    const alone = await b.ask([{ count: 9 }])
    expect(alone.handoffs).toEqual([['f', 9]])
    // Two slots: it may be two requests ahead, besides the one that it is level at.
    const reply = await c.ask([{ count: 9 }])
    expect(reply.handoffs).toEqual([['f', 3]])
  })

  test('nothing is handed over where a rate is drawn on as well', async () => {
    const spec = groupOf(rate('r', 100, MINUTE_MS), slots('c', 2))
    await hog(spec, 2)
    const b = await open(spec, 'b')
    expect((await b.ask([{ count: 9 }])).handoffs).toEqual([])
  })

  test('many tenants are served in the order of their tags, then of their names', async () => {
    const a = await open(groupOf(rate('r', 50, MINUTE_MS)))
    const names = Array.from({ length: 70 }, (_, i) => `t${String(i).padStart(2, '0')}`)
    // Stated in no order at all.
    const shuffled = [...names].sort((x, y) => (x.at(-1)! + x < y.at(-1)! + y ? -1 : 1))
    const ask = shuffled.map((name) => ({ key: name, tenant: name, count: 2 }))
    const reply = await a.ask(ask)
    expect(reply.grants.map(([key]) => key)).toEqual(names.slice(0, 50))
    expect(reply.queues[0]).toEqual([0, expect.any(Number), 90 * 1_200_000, 70])
    advance(61_000)
    // None was stated again: those that had nothing go first, read page by page.
    const next = await a.ask()
    expect(next.grants.map(([key]) => key)).toEqual([...names.slice(50), ...names.slice(0, 30)])
  })
})
