import { expect, test } from 'vitest'
import { groupOf, rate, slots } from './driver.js'
import { contract, countsOf, datesOf, Process } from './process.js'

const MINUTE_MS = 60_000

contract('operators and providers', (world) => {
  const requests = (limit: number) => groupOf(rate('r', limit, MINUTE_MS))
  const open = (spec: ReturnType<typeof groupOf>, name = 'a') => Process.open(world(), spec, name)
  const advance = (ms: number) => {
    world().instant.nowMs += ms
  }

  test('a paused pool grants nothing and holds up no other, until it is resumed', async () => {
    const a = await open(requests(9))
    await a.store.control({ type: 'pause', pool: 'p0' })
    const reply = await a.ask([{ key: 'p0' }, { key: 'p1', pool: 1 }])
    expect(countsOf(reply)).toEqual({ p1: 1 })
    expect(reply).toMatchObject({ paused: [0], retryAtMs: 0 })
    expect((await a.store.usage()).pausedUntilMs).toEqual({ p0: Number.POSITIVE_INFINITY })
    await a.store.control({ type: 'resume', pool: 'p0' })
    expect(await a.ask()).toMatchObject({ paused: [], grants: [['p0', a.nowMs, 0]] })
  })

  test('an operator wakes everybody', async () => {
    const spec = requests(9)
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await a.ask()
    await b.ask()
    const before = [a.wakes, b.wakes]
    await a.store.control({ type: 'pause', pool: 'p0' })
    await expect.poll(() => [a.wakes, b.wakes]).toEqual(before.map((count) => count + 1))
  })

  test('a cool-down is prolonged, never shortened; each prolongation is a new generation and news for all others', async () => {
    const spec = requests(90)
    const [a, b] = [await open(spec, 'a'), await open(spec, 'b')]
    await b.ask()
    const untilMs = a.nowMs + 5_000
    await a.ask()
    const before = [a.wakes, b.wakes]
    const reply = await a.ask([{}], { coolDowns: [[0, untilMs]] })
    expect(reply).toMatchObject({ grants: [], coolDowns: [[0, untilMs, 1]], retryAtMs: untilMs - 500 })
    await expect.poll(() => [a.wakes, b.wakes]).toEqual([before[0], before[1]! + 1])
    expect(await b.ask([], { coolDowns: [[0, untilMs - 100]] })).toMatchObject({ coolDowns: [[0, untilMs, 1]] })
    expect(await b.ask([], { coolDowns: [[0, untilMs + 100]] })).toMatchObject({ coolDowns: [[0, untilMs + 100, 2]] })
    expect((await a.store.usage()).pausedUntilMs).toEqual({ p0: untilMs + 100 })
  })

  test('after a cool-down grants are spaced for a while, then no more', async () => {
    const a = await open(requests(600))
    const untilMs = a.nowMs + 500
    await a.ask([], { coolDowns: [[0, untilMs]] })
    world().instant.nowMs = untilMs
    const dates = datesOf(await a.ask([{ count: 400 }]))
    expect(dates.slice(0, 3)).toEqual([untilMs, untilMs + 20, untilMs + 40])
    expect(dates.at(-1)).toBe(untilMs + 1_000)
    advance(2_000)
    const reply = await a.ask()
    expect(new Set(datesOf(reply))).toEqual(new Set([untilMs + 2_000]))
    expect(reply.coolDowns).toEqual([])
  })

  test('an operator ends a cool-down', async () => {
    const a = await open(requests(9))
    await a.ask([{}], { coolDowns: [[0, a.nowMs + MINUTE_MS]] })
    await a.store.control({ type: 'resume', pool: 'p0' })
    expect(await a.ask()).toMatchObject({ coolDowns: [], grants: [['f', a.nowMs, 0]] })
  })

  test('a limit that was moved holds for the fleet, until a process comes up with a newly deployed one', async () => {
    const a = await open(requests(2))
    expect(countsOf(await a.ask([{ count: 9 }]))).toEqual({ f: 2 })
    await a.store.control({ type: 'limit', id: 'r', base: 2, limit: 3 })
    expect(await a.ask()).toMatchObject({ grants: [['f', a.nowMs, 0]], overrides: [[0, 3]] })
    expect((await a.store.usage()).limits[0]).toMatchObject({ used: 3, limit: 3, ceiling: 3 })
    await (await open(requests(2), 'same')).ask()
    expect((await a.ask()).overrides).toEqual([[0, 3]])
    expect(countsOf(await (await open(requests(4), 'new')).ask([{ key: 'new' }]))).toEqual({})
    expect((await a.ask()).overrides).toEqual([[0, 4]])
    expect((await a.store.usage()).limits[0]).toMatchObject({ used: 4, limit: 4 })
  })

  test('a limit that was lowered below a cost refuses it', async () => {
    const a = await open(groupOf(rate('t', 100, MINUTE_MS, 'tokens')))
    await a.ask()
    await a.store.control({ type: 'limit', id: 't', base: 100, limit: 50 })
    expect((await a.ask([{ costs: [80] }])).refused).toEqual([['f', 0, 50]])
  })

  test('what operators said while nobody was there is heeded', async () => {
    const a = await open(requests(2))
    await a.store.control({ type: 'pause', pool: 'p1' })
    await a.store.control({ type: 'limit', id: 'r', base: 2, limit: 7 })
    expect(await a.ask([{ count: 9 }])).toMatchObject({ paused: [1], overrides: [[0, 7]] })
    expect(await a.used()).toEqual([7])
  })

  test('a burst of refusals cuts a slot ceiling once; it climbs back by probes, and a refused probe restores', async () => {
    const spec = groupOf(slots('c', 8))
    const a = await open(spec)
    const ceiling = async () => (await a.store.usage()).limits[0]!.ceiling
    const [grantedAtMs] = datesOf(await a.ask([{ count: 20 }]))
    advance(10)
    const reply = await a.ask([], { cuts: [0, 0, 0].map(() => [0, grantedAtMs!] as const), freed: [[0, 3]] })
    expect(reply.ceilings).toEqual([[0, 4]])
    advance(19_999)
    expect((await a.ask()).ceilings).toEqual([[0, 4]])
    advance(1)
    const probe = await a.ask([], { freed: [[0, 1]] })
    expect(probe.ceilings).toEqual([[0, 5]])
    expect((await a.store.usage()).limits[0]).toMatchObject({ limit: 8, ceiling: 5, proven: 4 })
    expect(countsOf(probe)).toEqual({ f: 1 })
    advance(10)
    await a.ask([], { cuts: [[0, datesOf(probe)[0]!]], freed: [[0, 1]] })
    expect(await ceiling()).toBe(4)
    expect((await a.store.usage()).limits[0]).toMatchObject({ ceiling: 4, proven: 4 })
  })

  test('a call that was granted before a probe and is refused after it takes a step off the proven level', async () => {
    const a = await open(groupOf(slots('c', 8)))
    const [grantedAtMs] = datesOf(await a.ask([{ count: 20 }]))
    advance(10)
    const before = await a.ask([], { cuts: [[0, grantedAtMs!]], freed: [[0, 6]] })
    expect(datesOf(before)).toHaveLength(2)
    advance(20_000)
    expect((await a.ask()).ceilings).toEqual([[0, 5]])
    expect((await a.ask([], { cuts: [[0, a.nowMs - 1]] })).ceilings).toEqual([[0, 3]])
    // Calls of the same burst, the probe among them, teach nothing more.
    expect((await a.ask([], { cuts: [[0, a.nowMs]] })).ceilings).toEqual([[0, 3]])
  })

  test('a rate ceiling loses a quarter and climbs by a twentieth; once the limit is proven it is gone', async () => {
    const a = await open(groupOf({ ...rate('r', 20, 1_000), adaptive: true }))
    const [grantedAtMs] = datesOf(await a.ask([{ count: 20 }]))
    expect((await a.ask([], { cuts: [[0, grantedAtMs!]] })).ceilings).toEqual([[0, 15]])
    const values: number[] = []
    for (let i = 0; i < 7; i++) {
      advance(20_000)
      await a.ask([{ count: 20 }])
      const { ceilings } = await a.ask()
      values.push(ceilings[0]?.[1] ?? 0)
    }
    expect(values).toEqual([16, 17, 18, 19, 20, 0, 0])
  })

  test("what a provider's headers say bounds the limit, and counts what is not ours until it ends", async () => {
    const a = await open(requests(20))
    await a.ask([{ count: 2 }])
    const untilMs = a.nowMs + 5_000
    // It counts 9 where we know of 2, and knows a lower limit.
    const reply = await a.ask([{ count: 20 }], { observed: [[0, 12, 9, untilMs]] })
    expect(countsOf(reply)).toEqual({ f: 3 })
    expect(reply.queues[0]![1]).toBe(untilMs)
    expect((await a.store.usage()).limits[0]).toMatchObject({ used: 5, limit: 20, ceiling: 12, proven: 12 })
    world().instant.nowMs = untilMs
    expect(countsOf(await a.ask())).toEqual({ f: 7 })
    expect(countsOf(await a.ask([], { observed: [[0, 0, 0, 0]] }))).toEqual({ f: 8 })
  })
})
