import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { groupOf, Member, memoryKind, rate, redisKind, type StoreWorld, slots } from './driver.js'

describe.each([memoryKind(), redisKind()])('store contract: $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())
  let world: StoreWorld
  beforeEach(async () => {
    world = await kind.fresh()
  })

  const requests = (limit: number) => groupOf(rate('r', limit, 60_000))
  const member = (spec: ReturnType<typeof groupOf>, id = 'a') => new Member(world.open(spec), id, world.instant, spec)
  const one = { charges: [[0, 1]] as const }

  test('a first start on an empty store grants at once', async () => {
    const reply = await member(requests(5)).ask([one])
    expect(reply).toMatchObject({ fenced: false, epoch: 'e1', learnUntilMs: 0, retryAtMs: 0 })
    expect(reply.grants).toHaveLength(1)
  })

  test('one exchange serves a whole batch, up to the limit, and says when to come back', async () => {
    const a = member(requests(5))
    const startMs = world.instant.nowMs
    const reply = await a.ask(Array.from({ length: 8 }, () => one))
    expect(reply.grants.map(({ grant }) => grant)).toEqual([1, 2, 3, 4, 5])
    // The bucket of 100 ms, the window, slack and guard.
    expect(reply.retryAtMs).toBe(startMs - (startMs % 100) + 100 + 60_000 + 200)
    world.instant.nowMs = reply.retryAtMs - 1
    expect((await a.ask([one])).grants).toHaveLength(0)
    world.instant.nowMs = reply.retryAtMs
    expect((await a.ask([one])).grants).toHaveLength(1)
  })

  test('a refusal charges nothing in any dimension', async () => {
    const spec = groupOf(rate('r', 100, 60_000), rate('t', 1000, 60_000), rate('d', 5000, 86_400_000), slots('c', 1))
    const a = member(spec)
    const ask = (tokens: number, flow: number) => ({
      flow,
      charges: [[0, 1] as const, [1, tokens] as const, [2, tokens] as const, [3, 1] as const],
    })
    expect((await a.ask([ask(600, 0)])).grants).toHaveLength(1)
    expect((await a.ask([ask(1, 1), ask(600, 2)])).grants).toHaveLength(0)
    const { limits } = await a.store.usage()
    expect(limits.map(({ used }) => used)).toEqual([1, 600, 600, 1])
  })

  test('a cost above the limit is refused, not queued', async () => {
    const reply = await member(requests(5)).ask([{ charges: [[0, 6]] }, one])
    expect(reply.refused).toEqual([{ grant: 1, limit: 0, max: 5 }])
    expect(reply.grants.map(({ grant }) => grant)).toEqual([2])
  })

  test('a settlement applies once: repeated, or in a repeated batch, it has no effect', async () => {
    const spec = groupOf(rate('t', 1000, 60_000), slots('c', 2))
    const a = member(spec)
    await a.ask([{ charges: [[0, 500] as const, [1, 1] as const] }])
    const settlement = a.settlement(1, { delta: -100 })
    await a.ask([], [settlement])
    await a.repeat()
    await a.ask([], [settlement])
    const { limits } = await a.store.usage()
    expect(limits.map(({ used }) => used)).toEqual([400, 0])
  })

  test('a repeated batch gets the same grants again, charged once', async () => {
    const a = member(requests(5))
    const first = await a.ask([one, one])
    expect(await a.repeat()).toEqual(first)
    expect((await a.store.usage()).limits[0]!.used).toBe(2)
  })

  test('an overrun is debt at once and holds later grants back', async () => {
    const a = member(groupOf(rate('t', 1000, 60_000)))
    await a.ask([{ charges: [[0, 500]] }])
    await a.ask([], [a.settlement(1, { delta: 700 })])
    expect((await a.store.usage()).limits[0]!.used).toBe(1200)
    expect((await a.ask([{ charges: [[0, 1]] }])).grants).toHaveLength(0)
  })

  test('a full refund goes back to the bucket it was charged to', async () => {
    const a = member(requests(1))
    await a.ask([one])
    world.instant.nowMs += 30_000
    expect((await a.ask([one], [a.settlement(1, { refund: true })])).grants).toHaveLength(1)
  })

  test("a dead process's slots return at its lease's end, its rate charges stay", async () => {
    const spec = groupOf(rate('r', 3, 60_000), slots('c', 1))
    const both = { charges: [[0, 1] as const, [1, 1] as const] }
    const a = member(spec, 'a')
    const b = member(spec, 'b')
    await a.ask([both], [], { leaseMs: 10_000 })
    world.instant.nowMs += 9_999
    expect((await b.ask([both])).grants).toHaveLength(0)
    world.instant.nowMs += 1
    expect((await b.ask([both])).grants).toHaveLength(1)
    expect((await b.store.usage()).limits.map(({ used }) => used)).toEqual([2, 1])
    expect((await a.ask([both])).fenced).toBe(true)
  })

  test('with a hold, slots return no earlier than the calls end', async () => {
    const spec = groupOf(slots('c', 1))
    const a = member(spec, 'a')
    const b = member(spec, 'b')
    await a.ask([one], [], { leaseMs: 10_000, holdUntilMs: world.instant.nowMs + 30_000 })
    world.instant.nowMs += 29_999
    expect((await b.ask([one])).grants).toHaveLength(0)
    world.instant.nowMs += 1
    expect((await b.ask([one])).grants).toHaveLength(1)
  })

  test('a dead process that joins again by the same name keeps the slots held for its calls', async () => {
    const spec = groupOf(slots('c', 2))
    const a = member(spec, 'a')
    await a.ask([one], [], { leaseMs: 10_000, holdUntilMs: world.instant.nowMs + 30_000 })
    world.instant.nowMs += 10_000
    a.seq = 0
    expect((await a.ask([one, one], [], { leaseMs: 10_000 })).grants).toHaveLength(1)
    world.instant.nowMs += 10_000
    expect((await member(spec, 'b').ask([one, one])).grants).toHaveLength(2)
  })

  test('a fenced process joins again under a new id and keeps the slots of its running calls', async () => {
    const spec = groupOf(slots('c', 2))
    const a = member(spec, 'a')
    await a.ask([one], [], { leaseMs: 10_000 })
    world.instant.nowMs += 20_000
    expect((await a.ask([one])).fenced).toBe(true)
    a.id = 'a.2'
    a.seq = 0
    const reply = await a.ask([one, one], [], { adoptions: [{ grant: 1, slots: [0] }] })
    expect(reply.grants).toHaveLength(1)
    await a.ask([], [a.settlement(1)])
    expect((await a.store.usage()).limits[0]!.used).toBe(1)
  })

  test('a process that knew another epoch makes the store learn for the longest window', async () => {
    const a = member(requests(5))
    a.epoch = 'former'
    const startMs = world.instant.nowMs
    const reply = await a.ask([one])
    expect(reply).toMatchObject({ learnUntilMs: startMs + 60_200, retryAtMs: startMs + 60_200, grants: [] })
    world.instant.nowMs = startMs + 60_200
    expect((await a.ask([one])).grants).toHaveLength(1)
  })

  test('a clock that cannot be trusted makes it learn too', async () => {
    const a = member(requests(5))
    expect((await a.ask([one], [], { distrust: true })).grants).toHaveLength(0)
  })

  test('time never goes back and never stands still', async () => {
    const a = member(requests(1))
    const { nowMs } = await a.ask([one])
    world.instant.nowMs -= 3_600_000
    expect((await a.ask([])).nowMs).toBe(nowMs)
    world.instant.nowMs += 5
    expect((await a.ask([])).nowMs).toBe(nowMs + 5)
  })

  test('first come, first served inside a flow; another flow passes what it does not delay', async () => {
    const spec = groupOf(rate('t', 100, 60_000), rate('u', 10, 60_000))
    const a = member(spec)
    await a.ask([{ charges: [[0, 60]] }])
    const reply = await a.ask([
      { flow: 0, charges: [[0, 50]] },
      { flow: 0, charges: [[0, 1]] },
      { flow: 1, charges: [[0, 40]] },
      { flow: 2, charges: [[1, 1]] },
    ])
    // The refused head keeps what it needs of `t`; only the flow that draws on `u` alone is served.
    expect(reply.grants.map(({ grant }) => grant)).toEqual([5])
  })

  test("later arrivals of one process do not overtake another's older, larger request", async () => {
    const spec = groupOf(rate('t', 100, 60_000))
    const a = member(spec, 'a')
    const b = member(spec, 'b')
    await a.ask([{ charges: [[0, 60]] }])
    const { retryAtMs } = await a.ask([{ charges: [[0, 50]] }])
    world.instant.nowMs += 10
    expect((await b.ask([{ charges: [[0, 20]] }])).grants).toHaveLength(0)
    world.instant.nowMs = retryAtMs
    expect((await a.ask([{ charges: [[0, 50]], sinceMs: 0 }])).grants).toHaveLength(1)
    expect((await b.ask([{ charges: [[0, 20]] }])).grants).toHaveLength(1)
  })

  test('a head that does not claim its turn is passed over', async () => {
    const spec = groupOf(rate('t', 100, 60_000))
    const a = member(spec, 'a')
    const b = member(spec, 'b')
    await a.ask([{ charges: [[0, 60]] }])
    const { retryAtMs } = await a.ask([{ charges: [[0, 90]] }])
    world.instant.nowMs = retryAtMs - 5_000
    await a.ask([{ charges: [[0, 90]], sinceMs: 0 }])
    world.instant.nowMs = retryAtMs + 249
    expect((await b.ask([{ charges: [[0, 20]] }])).grants).toHaveLength(0)
    world.instant.nowMs = retryAtMs + 250
    expect((await b.ask([{ charges: [[0, 20]] }])).grants).toHaveLength(1)
  })

  test('a freed slot wakes the process with the oldest head, and only that', async () => {
    const spec = groupOf(slots('c', 1))
    const [a, b, c] = ['a', 'b', 'c'].map((id) => member(spec, id)) as [Member, Member, Member]
    const woken: string[] = []
    const wakes = (id: string) => new Promise<void>((resolve) => listenFor(id, resolve))
    const listenFor = (id: string, resolve: () => void) => {
      const target = { a, b, c }[id]!
      const wake = () => {
        woken.push(id)
        resolve()
      }
      target.store.listen({ wake, up() {}, down() {} })
    }
    const first = wakes('b')
    const second = wakes('c')
    await a.ask([one])
    await b.ask([one])
    world.instant.nowMs += 1
    await c.ask([one])
    await a.ask([], [a.settlement(1)])
    await first
    expect(woken).toEqual(['b'])
    await b.ask([{ ...one, sinceMs: 0 }])
    await b.ask([], [b.settlement(2)])
    await second
    expect(woken).toEqual(['b', 'c'])
  })

  test('pause and resume, cool-down (prolonged, never shortened), and limits moved for the fleet', async () => {
    const a = member(requests(2))
    await a.store.control({ type: 'pause', pool: 'p0' })
    expect((await a.ask([one, { ...one, pool: 1, flow: 1 }])).grants.map(({ grant }) => grant)).toEqual([2])
    await a.store.control({ type: 'resume', pool: 'p0' })
    const untilMs = world.instant.nowMs + 500
    expect((await a.ask([], [a.settlement(2, { coolDownMs: untilMs })])).grants).toHaveLength(0)
    await a.ask([{ ...one, pool: 1, flow: 1 }])
    expect((await a.ask([one], [a.settlement(3, { coolDownMs: untilMs - 400 })])).retryAtMs).toBe(untilMs)
    world.instant.nowMs = untilMs
    await a.store.control({ type: 'limit', id: 'r', base: 2, limit: 3 })
    expect((await a.ask([one, one, one])).grants).toHaveLength(1)
    expect((await a.store.usage()).limits[0]).toMatchObject({ used: 3, limit: 3 })
    await a.store.control({ type: 'limit', id: 'r', base: 99, limit: 50 })
    expect((await a.store.usage()).limits[0]).toMatchObject({ limit: 2 })
  })

  test('a burst of refusals cuts an adaptive ceiling once; it climbs back by probes, and a refused probe restores', async () => {
    const spec = groupOf(slots('c', 8))
    const a = member(spec)
    const ceiling = async () => (await a.store.usage()).limits[0]!.ceiling
    const full = Array.from({ length: 8 }, () => one)
    await a.ask(full)
    world.instant.nowMs += 10
    const refusals = [...a.held.keys()].slice(0, 4).map((grant) => a.settlement(grant, { cuts: [0] }))
    await a.ask([], refusals)
    expect(await ceiling()).toBe(4)
    world.instant.nowMs += 9_000
    await a.ask(full)
    expect(await ceiling()).toBe(4)
    world.instant.nowMs += 1_000
    await a.ask([], [a.settlement(5)])
    const { grants } = await a.ask(full)
    expect(await ceiling()).toBe(5)
    expect(grants).toHaveLength(2)
    world.instant.nowMs += 10
    await a.ask([], [a.settlement(grants[0]!.grant, { cuts: [0] })])
    expect(await ceiling()).toBe(4)
  })

  test('at idle the sums equal the live buckets, which are none', async () => {
    const spec = requests(5)
    const a = member(spec)
    await a.ask([one, one])
    expect(await world.audit(spec)).toEqual([{ id: 'r', sum: 2, bucketSum: 2 }])
    world.instant.nowMs += 61_000
    await a.ask([one])
    expect(await world.audit(spec)).toEqual([{ id: 'r', sum: 1, bucketSum: 1 }])
  })
})
