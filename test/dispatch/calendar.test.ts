import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Calendar, type DatedGrant } from '../../src/dispatch/calendar.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

function rig() {
  const clock = new VirtualClock()
  const due: { order: number; dueMs: number; atMs: number }[] = []
  const calendar: Calendar = new Calendar(clock, ({ order, dueMs }) => {
    due.push({ order, dueMs, atMs: clock.now() })
    return true
  })
  let order = 0
  const dated = (dueMs: number, pool = 0): DatedGrant => {
    return { order: order++, flowKey: 'flow', pool, tokens: 0, notBeforeMs: dueMs, dueMs }
  }
  return { clock, calendar, due, dated }
}

describe('Calendar', () => {
  test('hands each grant out at its date, never before', () => {
    const { clock, calendar, due, dated } = rig()
    for (const dueMs of [300, 100.5, 200]) calendar.add(dated(dueMs))
    calendar.go()
    clock.advance(100)
    expect(due).toEqual([])
    clock.advance(1_000)
    expect(due.map(({ dueMs }) => dueMs)).toEqual([100.5, 200, 300])
    for (const { dueMs, atMs } of due) expect(atMs).toBeGreaterThanOrEqual(dueMs)
    expect(calendar.size).toBe(0)
    expect(clock.pendingTimers).toBe(0)
  })

  test('what is due goes at once, in the order of the store', () => {
    const { calendar, due, dated } = rig()
    for (let i = 0; i < 3; i++) calendar.add(dated(0))
    calendar.go()
    expect(due.map(({ order }) => order)).toEqual([0, 1, 2])
  })

  test('a burst is spread over turns of the event loop, 32 in each', () => {
    const { clock, calendar, due, dated } = rig()
    for (let i = 0; i < 80; i++) calendar.add(dated(0))
    calendar.go()
    expect(due).toHaveLength(32)
    calendar.go() // The rest has its turn already.
    expect(due).toHaveLength(32)
    clock.runNext()
    expect(due).toHaveLength(64)
    clock.runNext()
    expect(due.map(({ order }) => order)).toEqual([...Array(80).keys()])
    expect(clock.pendingTimers).toBe(0)
  })

  test('what takes its receiver no time takes no turn from others', () => {
    const clock = new VirtualClock()
    const due: number[] = []
    const calendar: Calendar = new Calendar(clock, ({ order }) => due.push(order) > 100)
    for (let order = 0; order < 140; order++) {
      calendar.add({ order, flowKey: 'flow', pool: 0, tokens: 0, notBeforeMs: 0, dueMs: 0 })
    }
    calendar.go()
    expect(due).toHaveLength(132)
    clock.runNext()
    expect(due).toHaveLength(140)
  })

  test('an earlier date that comes later is not missed', () => {
    const { clock, calendar, due, dated } = rig()
    calendar.add(dated(1_000))
    calendar.go()
    clock.advance(100)
    calendar.add(dated(200))
    calendar.go()
    clock.advance(150)
    expect(due.map(({ dueMs }) => dueMs)).toEqual([200])
  })

  test('recall takes out what no longer holds, and leaves the others their dates', () => {
    const { clock, calendar, due, dated } = rig()
    for (let i = 0; i < 10; i++) calendar.add(dated(100 * (10 - i), i % 2))
    calendar.go()
    const recalled = calendar.recall(({ pool, dueMs }) => pool === 1 && dueMs < 600)
    expect(recalled.map(({ dueMs }) => dueMs).sort()).toEqual([100, 300, 500])
    clock.advance(2_000)
    expect(due.map(({ dueMs, atMs }) => [dueMs, atMs])).toEqual(
      [200, 400, 600, 700, 800, 900, 1_000].map((atMs) => [atMs, atMs]),
    )
  })

  test('its receiver may recall and add', () => {
    const clock = new VirtualClock()
    const due: number[] = []
    const of = (order: number, dueMs: number) => {
      return { order, flowKey: 'flow', pool: 0, tokens: 0, notBeforeMs: dueMs, dueMs }
    }
    const calendar: Calendar = new Calendar(clock, ({ order }) => {
      due.push(order)
      if (order !== 0) return true
      calendar.recall((dated) => dated.order === 1)
      calendar.add(of(3, 0))
      return true
    })
    for (const order of [0, 1, 2]) calendar.add(of(order, 0))
    calendar.go()
    expect(due).toEqual([0, 2, 3])
  })

  test('stopped it hands out nothing and holds no timer', () => {
    const { clock, calendar, due, dated } = rig()
    for (let i = 0; i < 40; i++) calendar.add(dated(i < 35 ? 0 : 500))
    calendar.go()
    calendar.stop()
    clock.advance(1_000)
    expect(due).toHaveLength(32)
    expect(calendar.size).toBe(0)
    expect(clock.pendingTimers).toBe(0)
  })

  test('keeps the order of dates whatever is added, recalled and let pass', () => {
    const step = fc.oneof(
      fc.record({ add: fc.nat(500) }),
      fc.record({ recall: fc.integer({ min: 2, max: 5 }) }),
      fc.record({ pass: fc.nat(100) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { clock, calendar, due, dated } = rig()
        const expected = new Map<number, number>()
        for (const now of steps) {
          if ('add' in now) {
            const grant = dated(clock.now() + now.add)
            expected.set(grant.order, grant.dueMs)
            calendar.add(grant)
          } else if ('recall' in now) {
            for (const { order } of calendar.recall((grant) => grant.order % now.recall === 0)) expected.delete(order)
          } else clock.advance(now.pass)
          calendar.go()
        }
        clock.advance(1_000)
        expect(new Map(due.map(({ order, dueMs }) => [order, dueMs]))).toEqual(expected)
        expect(due.every(({ dueMs, atMs }) => atMs >= dueMs)).toBe(true)
        const rising = due.map(({ atMs }) => atMs)
        expect(rising).toEqual([...rising].sort((a, b) => a - b))
      }),
    )
  })
})
