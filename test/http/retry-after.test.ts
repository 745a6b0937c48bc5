import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PaceMeter, retryAfterSeconds } from '../../src/http/retry-after.js'

const UNLIMITED = Number.POSITIVE_INFINITY
/** Foretold, and of no account once there is a pace. */
const WAIT = { waitMs: 5_000 }
const NOTHING_ENDED = { departures: 0, observedMs: 3_600_000 }

describe('Retry-After of a full queue', () => {
  test.each([
    ['the queue at the observed pace', { queued: 100, departures: 50, observedMs: 10_000, maxPerMs: UNLIMITED }, 20],
    ['never faster than the limits', { queued: 100, departures: 50, observedMs: 100, maxPerMs: 50 / 60_000 }, 120],
    ['at least 1', { queued: 1, departures: 100, observedMs: 10, maxPerMs: UNLIMITED }, 1],
    ['rounded up', { queued: 3, departures: 2, observedMs: 1_000, maxPerMs: UNLIMITED }, 2],
    ['nothing ended yet: the wait foretold', { queued: 4, ...NOTHING_ENDED, maxPerMs: 1, waitMs: 12_300 }, 13],
    ['… and no sooner than the limits allow', { queued: 40, ...NOTHING_ENDED, maxPerMs: 0.001, waitMs: 12_300 }, 40],
    ['… at least 1', { queued: 4, ...NOTHING_ENDED, maxPerMs: UNLIMITED, waitMs: 0 }, 1],
    [
      '… nor more than a minute while it is paused',
      { queued: 4, ...NOTHING_ENDED, maxPerMs: 1, waitMs: UNLIMITED },
      60,
    ],
    ['no time observed', { queued: 0, departures: 1, observedMs: 0, maxPerMs: UNLIMITED }, 1],
    ['at most an hour', { queued: 1000, departures: 1, observedMs: 86_400_000, maxPerMs: 1 }, 3600],
  ])('%s', (_, load, seconds) => {
    expect(retryAfterSeconds({ ...WAIT, ...load })).toBe(seconds)
  })

  test('is a whole number from 1 to 3600, whatever happened', () => {
    const load = fc.record({
      queued: fc.nat(1_000_000),
      departures: fc.nat(100),
      observedMs: fc.double({ min: 0, max: 1e9, noNaN: true }),
      maxPerMs: fc.oneof(fc.constant(UNLIMITED), fc.double({ min: 1e-9, max: 1e3, noNaN: true })),
      waitMs: fc.oneof(fc.constant(UNLIMITED), fc.double({ min: 0, max: 1e12, noNaN: true })),
    })
    fc.assert(
      fc.property(load, (some) => {
        const seconds = retryAfterSeconds(some)
        expect(Number.isInteger(seconds)).toBe(true)
        expect(seconds).toBeGreaterThanOrEqual(1)
        expect(seconds).toBeLessThanOrEqual(3600)
      }),
    )
  })
})

describe('the pace of a pool', () => {
  test('counts what ended since the pool had work', () => {
    const meter = new PaceMeter()
    meter.arrived(1_000)
    meter.arrived(1_100)
    meter.departed(1_500)
    expect(meter.pace(2_000)).toEqual({ departures: 1, observedMs: 1_000 })
  })

  test('forgets a busy time when the next begins: idle time is not slowness', () => {
    const meter = new PaceMeter()
    meter.arrived(0)
    meter.departed(10)
    meter.arrived(60_000)
    expect(meter.pace(60_100)).toEqual({ departures: 0, observedMs: 100 })
  })

  test('follows the last hundred', () => {
    const meter = new PaceMeter()
    for (let i = 0; i <= 150; i++) meter.arrived(0)
    for (let ms = 1; ms <= 150; ms++) meter.departed(ms)
    expect(meter.pace(150)).toEqual({ departures: 100, observedMs: 100 })
  })

  test('a departure without an arrival changes nothing', () => {
    const meter = new PaceMeter()
    meter.departed(5)
    meter.arrived(10)
    expect(meter.pace(20)).toEqual({ departures: 0, observedMs: 10 })
  })
})
