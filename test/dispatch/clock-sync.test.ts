import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ClockSync } from '../../src/dispatch/clock-sync.js'

describe('ClockSync', () => {
  test('bounds enclose the store clock, whatever the delays on the way', () => {
    const exchange = fc.record({ gapMs: fc.nat(5_000), thereMs: fc.nat(80), backMs: fc.nat(80) })
    fc.assert(
      fc.property(fc.integer({ min: -1e6, max: 1e6 }), fc.array(exchange, { minLength: 1 }), (offsetMs, exchanges) => {
        const sync = new ClockSync()
        let localMs = 1e6
        for (const { gapMs, thereMs, backMs } of exchanges) {
          const sentMs = localMs + gapMs
          const storeMs = sentMs + thereMs + offsetMs
          localMs = sentMs + thereMs + backMs
          expect(sync.observe(storeMs, sentMs, localMs)).toBe(0)
          const trueMs = localMs + 300 + offsetMs
          expect(sync.earliest(localMs + 300)).toBeLessThanOrEqual(trueMs)
          expect(sync.latest(localMs + 300)).toBeGreaterThanOrEqual(trueMs)
        }
      }),
    )
  })

  test('localWhen is never early', () => {
    const sync = new ClockSync()
    sync.observe(5_000, 100, 110)
    const atMs = sync.localWhen(6_000)
    expect(sync.earliest(atMs)).toBeCloseTo(6_000, 6)
  })

  test('a store clock that jumps ahead is not trusted, one that falls behind is followed', () => {
    const sync = new ClockSync()
    expect(sync.observe(1_000, 0, 2)).toBe(0)
    // 1,000 ms after the first reply it reads 2,000 ms more: by 1,002.2 ms at most, drift included.
    expect(sync.observe(3_000, 1_000, 1_002)).toBeCloseTo(1_002.201, 6)
    expect(sync.observe(3_500, 2_000, 2_002)).toBe(0)
    expect(sync.latest(2_002)).toBeLessThan(3_510)
    // A little may be the way, or a clock that is set.
    expect(sync.observe(4_590, 3_000, 3_090)).toBe(0)
  })

  test('a jump ahead shows however long the round trip was', () => {
    const sync = new ClockSync()
    sync.observe(1_000, 0, 2)
    // Read at the very end of it, the clock would be at 5,000 or so.
    expect(sync.observe(6_000, 1_000, 4_002)).toBeGreaterThan(1_998)
    const other = new ClockSync()
    other.observe(1_000, 0, 2)
    expect(other.observe(5_000, 1_000, 4_002)).toBe(0)
  })

  test('of a clock that was set back earlier replies say nothing, though the way is slower than the step was long', () => {
    const step = fc.record({ byMs: fc.nat(300), gapMs: fc.nat(2_000), thereMs: fc.nat(400), backMs: fc.nat(400) })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1 }), (steps) => {
        const sync = new ClockSync()
        let [localMs, setBackMs] = [1e6, 0]
        sync.observe(localMs, localMs, localMs)
        for (const { byMs, gapMs, thereMs, backMs } of steps) {
          const sentMs = localMs + gapMs
          setBackMs += byMs
          const storeMs = sentMs + thereMs - setBackMs
          localMs = sentMs + thereMs + backMs
          expect(sync.observe(storeMs, sentMs, localMs, `${setBackMs}`)).toBe(0)
          expect(sync.earliest(localMs)).toBeLessThanOrEqual(localMs - setBackMs)
          expect(sync.latest(localMs)).toBeGreaterThanOrEqual(localMs - setBackMs)
        }
      }),
    )
  })

  test('a clock that NTP slewed for ten minutes has not jumped', () => {
    const sync = new ClockSync()
    sync.observe(1_000, 0, 2)
    expect(sync.observe(601_300, 600_000, 600_002)).toBe(0)
    expect(sync.observe(602_800, 601_000, 601_002)).toBeGreaterThan(0)
  })
})
