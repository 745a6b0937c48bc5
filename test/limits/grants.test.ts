import { expect, test } from 'vitest'
import { groupOf, rate, slots } from './driver.js'
import { contract, countsOf, datesOf, Process } from './process.js'

const MINUTE_MS = 60_000
const HOLD_MS = 200
/** When what was granted at `atMs` counts no more in a minute: its bucket, the window, slack and guard. */
const goneMs = (atMs: number) => atMs - (atMs % 100) + 100 + MINUTE_MS + HOLD_MS

contract('grants', (world) => {
  const requests = (limit: number) => groupOf(rate('r', limit, MINUTE_MS))
  const open = (spec: ReturnType<typeof groupOf>, name = 'a') => Process.open(world(), spec, name)
  const advance = (ms: number) => {
    world().instant.nowMs += ms
  }

  test('one exchange serves a whole batch, up to the limit, and says when to come back', async () => {
    const a = await open(requests(5))
    const startMs = a.nowMs
    const reply = await a.ask([{ count: 8 }])
    expect(datesOf(reply)).toEqual(Array.from({ length: 5 }, () => startMs))
    // What it was given just now leaves the window when its whole bucket does; it asks half a horizon before.
    const dueMs = goneMs(startMs)
    expect(reply.queues[0]).toEqual([0, dueMs, 3 * 12_000_000, 1])
    expect(reply.retryAtMs).toBe(dueMs - 500)
  })

  test('store time is whole ms, and how far in the ms it was read is told with it', async () => {
    const a = await open(requests(5))
    const { nowMs } = await a.ask()
    advance(1.75)
    expect(await a.ask()).toMatchObject({ nowMs: nowMs + 1, readMs: nowMs + 1.75 })
  })

  test('all limits are drawn on or none: a refusal charges nothing in any', async () => {
    const spec = groupOf(
      rate('r', 100, MINUTE_MS),
      rate('t', 1000, MINUTE_MS, 'tokens'),
      rate('d', 5000, 86_400_000, 'tokens'),
      slots('c', 1),
    )
    const a = await open(spec)
    expect(countsOf(await a.ask([{ costs: [600] }]))).toEqual({ f: 1 })
    expect(
      (
        await a.ask([
          { key: 'small', costs: [1] },
          { key: 'large', costs: [600] },
        ])
      ).grants,
    ).toEqual([])
    expect(await a.used()).toEqual([1, 600, 600, 1])
  })

  test('a cost above the limit is refused, not queued', async () => {
    const a = await open(groupOf(rate('t', 100, MINUTE_MS, 'tokens')))
    const reply = await a.ask([{ costs: [101, 60] }])
    expect(reply.refused).toEqual([['f', 0, 100]])
    expect(reply.grants).toEqual([['f', a.nowMs, 60]])
  })

  test('grants are dated ahead, but only from half a horizon on, and then for a whole one', async () => {
    const a = await open(requests(4))
    const startMs = a.nowMs
    await a.ask([{ count: 2 }])
    advance(400)
    await a.ask([{ count: 2 }])
    world().instant.nowMs = goneMs(startMs) - 501
    expect((await a.ask([{ count: 5 }])).grants).toEqual([])
    advance(1)
    const reply = await a.ask([{ count: 5 }])
    // What leaves later is within the horizon, once there is any reason to date at all.
    expect(datesOf(reply)).toEqual([0, 0, 400, 400].map((ms) => goneMs(startMs) + ms))
    expect(reply.queues.filter(([, , , flows]) => flows > 0)).toHaveLength(1)
  })

  test('tells of a full window where nobody waits, as long as it is', async () => {
    const tokens = rate('t', 1_000, 2 * MINUTE_MS, 'tokens')
    const a = await open({ ...groupOf(rate('r', 2, MINUTE_MS), tokens), draws: [[0, 1], [1]] })
    const startMs = a.nowMs
    expect((await a.ask([{ count: 1, costs: [600], draws: [0, 1] }])).queues).toEqual([])
    advance(1_000)
    const full = await a.ask([{ count: 1, costs: [400], draws: [0, 1] }])
    const roomMs = goneMs(startMs)
    const tokensMs = startMs - (startMs % 200) + 200 + 2 * MINUTE_MS + HOLD_MS
    expect(full.queues).toEqual([
      [0, roomMs, (tokensMs - roomMs) * 1_000, 0],
      [1, a.nowMs, (tokensMs - a.nowMs) * 1_000, 0],
    ])
    // LLM tokens come back.
    const refunded = await a.ask([], { adjustments: [[1, Math.floor(startMs / 200), -1]] })
    expect(refunded.queues).toEqual([[0, roomMs, 0, 0]])
    world().instant.nowMs = roomMs
    expect((await a.ask()).queues).toEqual([])
  })

  test('a short window is dated no further than a quarter of it', async () => {
    const a = await open(groupOf(rate('r', 1, 1_000)))
    const startMs = a.nowMs
    await a.ask([{}])
    world().instant.nowMs = startMs + 1_201 - 126
    expect((await a.ask([{}])).grants).toEqual([])
    advance(1)
    expect(datesOf(await a.ask([{}]))).toEqual([startMs + 1_201])
  })

  test('a slot never waits for a date while slots are few', async () => {
    const a = await open(groupOf(rate('r', 1, MINUTE_MS), slots('c', 3)))
    const startMs = a.nowMs
    await a.ask([{}])
    world().instant.nowMs = goneMs(startMs) - 1
    expect((await a.ask([{}])).grants).toEqual([])
    advance(1)
    expect(datesOf(await a.ask([{}]))).toEqual([a.nowMs])
  })

  test('exact: no window is over its limit by the dates of grants, and none of it lies idle', async () => {
    const a = await open(requests(7))
    const dates: number[] = []
    for (let step = 0; step < 400; step++) {
      dates.push(...datesOf(await a.ask([{ count: 3 }])))
      advance(443)
    }
    for (const date of dates) {
      const within = dates.filter((other) => other <= date && other > date - MINUTE_MS - HOLD_MS)
      expect(within.length).toBeLessThanOrEqual(7)
    }
    expect(dates.length).toBe(7 * 3)
  })

  test('a large request gets a date that those after it go before only without delaying it', async () => {
    const a = await open(groupOf(rate('t', 100, MINUTE_MS, 'tokens')))
    const startMs = a.nowMs
    await a.ask([{ costs: [30] }])
    advance(10_000)
    await a.ask([{ costs: [40] }])
    // 30 are free now and 60 in time for the large one, so 10 may go before it.
    const reply = await a.ask([
      { key: 'large', costs: [50] },
      { key: 'small', tenant: 'other', costs: [10, 10] },
    ])
    expect(countsOf(reply)).toEqual({ small: 1 })
    expect(reply.queues[0]![1]).toBe(goneMs(startMs))
    expect((await a.store.usage()).limits[0]).toMatchObject({ used: 80, reserved: 50, limit: 100 })
    world().instant.nowMs = goneMs(startMs) - 500
    expect(datesOf(await a.ask([]), 'large')).toEqual([goneMs(startMs)])
    // What is granted is spent, and promised no more: that is for who comes after it.
    expect((await a.store.usage()).limits[0]).toMatchObject({ used: 130, reserved: 10 })
  })

  test('a date that was promised is kept, whoever has come since', async () => {
    const a = await open(requests(2))
    const startMs = a.nowMs
    await a.ask([{ key: 'first', tenant: 'busy', count: 5 }])
    // A tenant that never had anything comes before a busy one, but not before the one that was promised the next slot.
    advance(100)
    expect((await a.ask([{ key: 'late', tenant: 'late', count: 5 }])).grants).toEqual([])
    world().instant.nowMs = goneMs(startMs)
    const reply = await a.ask()
    expect(reply.grants.map(([key]) => key)).toEqual(['first', 'late'])
  })

  test('an overrun is debt at once, a refund goes back to its bucket and no further', async () => {
    const a = await open(groupOf(rate('t', 1000, MINUTE_MS, 'tokens')))
    const bucket = Math.floor(a.nowMs / 100)
    await a.ask([{ costs: [500] }])
    advance(30_000)
    await a.ask([], { adjustments: [[0, bucket, 700]] })
    expect(await a.used()).toEqual([1200])
    expect((await a.ask([{ costs: [1] }])).grants).toEqual([])
    await a.ask([{ count: 0 }], { adjustments: [[0, bucket, -900]] })
    expect(await a.used()).toEqual([700])
    world().instant.nowMs += 31_000
    await a.ask([], { adjustments: [[0, bucket, -1]] })
    expect(await a.used()).toEqual([700])
  })

  test('a whole refund lets the next one go', async () => {
    const a = await open(requests(1))
    const bucket = Math.floor(a.nowMs / 100)
    await a.ask([{}])
    advance(30_000)
    expect(countsOf(await a.ask([{}], { adjustments: [[0, bucket, -1]] }))).toEqual({ f: 1 })
  })

  test('costs of requests that count no tokens need not be named', async () => {
    const a = await open(requests(200))
    expect(countsOf(await a.ask([{ count: 150 }]))).toEqual({ f: 150 })
  })

  test('one exchange gives a bounded number of grants and asks to be called again', async () => {
    const a = await open(requests(2_000))
    const reply = await a.ask([{ count: 600 }])
    expect(countsOf(reply)).toEqual({ f: 512 })
    expect(reply.retryAtMs).toBe(a.nowMs + 1)
  })

  test('time never goes back and never stands still', async () => {
    const a = await open(requests(1))
    const { nowMs, setBackMs } = await a.ask([{}])
    expect(setBackMs).toBe(0)
    advance(1_000)
    advance(-3_600_000)
    expect(await a.ask()).toMatchObject({ nowMs, setBackMs: 3_599_000 })
    advance(5)
    expect(await a.ask()).toMatchObject({ nowMs: nowMs + 5, setBackMs: 3_599_000 })
  })

  test('at idle the sums equal the live buckets, which are none', async () => {
    const a = await open(requests(5))
    await a.ask([{ count: 2 }])
    expect((await world().audit()).rates).toEqual([{ id: 'r', sum: 2, bucketSum: 2 }])
    advance(61_000)
    await a.ask([{}])
    expect((await world().audit()).rates).toEqual([{ id: 'r', sum: 1, bucketSum: 1 }])
  })
})
