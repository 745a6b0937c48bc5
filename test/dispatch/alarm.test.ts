import { describe, expect, test } from 'vitest'
import { type Clock, realClock } from '../../src/clock.js'
import { Alarm } from '../../src/dispatch/alarm.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

/** Fires every timer `earlyMs` before its time, as Node may do by up to 1 ms, and notes each delay asked for. */
class EarlyClock implements Clock {
  readonly virtual = new VirtualClock()
  readonly delaysMs: number[] = []

  constructor(private readonly earlyMs: number) {}

  now = () => this.virtual.now()
  wallMs = () => this.virtual.wallMs()
  clearTimeout = (handle: unknown) => this.virtual.clearTimeout(handle)
  setTimeout = (fn: () => void, delayMs: number) => {
    this.delaysMs.push(delayMs)
    // Early only as long as time moves at all: a timer of 1 ms fires after a little less.
    return this.virtual.setTimeout(fn, Math.max(delayMs / 2, delayMs - this.earlyMs))
  }
}

function rig(earlyMs = 0) {
  const clock = new EarlyClock(earlyMs)
  const rangAtMs: number[] = []
  const alarm = new Alarm(clock, () => rangAtMs.push(clock.now()))
  return { clock, alarm, rangAtMs }
}

describe('Alarm', () => {
  test.each([0.4, 1, 10, 199, 200, 201, 5_000, 60_000])('set to %d ms it rings once, never early', (atMs) => {
    for (const earlyMs of [0, 0.5, 1]) {
      const { clock, alarm, rangAtMs } = rig(earlyMs)
      alarm.set(atMs)
      clock.virtual.advance(2 * atMs + 10)
      expect(rangAtMs).toHaveLength(1)
      expect(rangAtMs[0]).toBeGreaterThanOrEqual(atMs)
      expect(rangAtMs[0]).toBeLessThan(atMs + 1)
    }
  })

  test('a long sleep is split: first 98 % of it, then the rest', () => {
    const { clock, alarm, rangAtMs } = rig()
    alarm.set(10_000)
    clock.virtual.advance(20_000)
    expect(clock.delaysMs).toEqual([9_800, 200])
    expect(rangAtMs).toEqual([10_000])
  })

  test('a short sleep is one timer of just what is left, down to parts of a ms', () => {
    const { clock, alarm, rangAtMs } = rig()
    alarm.set(199.5)
    clock.virtual.advance(300)
    expect(clock.delaysMs).toEqual([199.5])
    expect(rangAtMs).toEqual([199.5])
  })

  test('on the real clock it is never early and what is left of a ms is no timer', async () => {
    const atMs = realClock.now() + 0.3
    await new Promise<void>((resolve) => new Alarm(realClock, resolve).set(atMs))
    expect(realClock.now()).toBeGreaterThanOrEqual(atMs)
    const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const alarm = new Alarm(realClock, () => {})
    alarm.set(realClock.now() + 0.5)
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout')).toHaveLength(timers)
    alarm.clear()
  })

  test('a time gone by rings at the next turn, not in the middle of set', () => {
    const { clock, alarm, rangAtMs } = rig()
    clock.virtual.advance(100)
    alarm.set(50)
    expect(rangAtMs).toEqual([])
    clock.virtual.advance(0)
    expect(rangAtMs).toEqual([100])
  })

  test('a new setting takes the place of the old one', () => {
    const { clock, alarm, rangAtMs } = rig()
    alarm.set(1_000)
    alarm.set(2_000)
    expect(clock.virtual.pendingTimers).toBe(1)
    clock.virtual.advance(5_000)
    expect(rangAtMs).toEqual([2_000])
    alarm.set(6_000)
    alarm.set(5_500)
    clock.virtual.advance(5_000)
    expect(rangAtMs).toEqual([2_000, 5_500])
  })

  test('cleared it is silent and holds no timer', () => {
    const { clock, alarm, rangAtMs } = rig()
    alarm.set(1_000)
    clock.virtual.advance(990)
    expect(alarm.armed).toBe(true)
    alarm.clear()
    alarm.clear()
    expect(alarm.armed).toBe(false)
    expect(clock.virtual.pendingTimers).toBe(0)
    clock.virtual.advance(5_000)
    expect(rangAtMs).toEqual([])
  })

  test('it can be set again from its own ring, and is not armed meanwhile', () => {
    const clock = new VirtualClock()
    const rings: { atMs: number; armed: boolean }[] = []
    const alarm: Alarm = new Alarm(clock, () => {
      rings.push({ atMs: clock.now(), armed: alarm.armed })
      if (rings.length < 3) alarm.set(clock.now() + 300)
    })
    alarm.set(300)
    clock.advance(10_000)
    expect(rings).toEqual([300, 600, 900].map((atMs) => ({ atMs, armed: false })))
  })
})
