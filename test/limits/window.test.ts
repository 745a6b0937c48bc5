import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bucketExpiryMs, bucketOf, bucketWidthMs, SlidingLog } from '../../src/limits/window.js'

describe('window arithmetic', () => {
  test.each([
    [86_400_000, 144_000],
    [60_000, 100],
    [1_000, 1],
    [100, 1],
    [1, 1],
  ])('a window of %d ms has buckets of %d ms', (windowMs, widthMs) => {
    expect(bucketWidthMs(windowMs)).toBe(widthMs)
  })

  test('a bucket counts until all of it is outside window, slack and guard', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 41), fc.integer({ min: 1, max: 86_400_000 }), fc.nat(1_000), (atMs, windowMs, holdMs) => {
        const widthMs = bucketWidthMs(windowMs)
        const expiryMs = bucketExpiryMs(bucketOf(atMs, widthMs), widthMs, windowMs, holdMs)
        expect(expiryMs).toBeGreaterThan(atMs + windowMs + holdMs)
        expect(expiryMs).toBeLessThanOrEqual(atMs + windowMs + holdMs + widthMs)
      }),
    )
  })

  test('freeAt foretells the first instant at which enough is gone', () => {
    const charges = fc.array(fc.record({ gapMs: fc.nat(40), amount: fc.integer({ min: 1, max: 9 }) }), { minLength: 1 })
    fc.assert(
      fc.property(charges, fc.integer({ min: 1, max: 60 }), (steps, wanted) => {
        const log = new SlidingLog(100)
        let nowMs = 1_000
        for (const { gapMs, amount } of steps) {
          nowMs += gapMs
          log.expire(nowMs, 20)
          log.add(nowMs, amount)
        }
        const before = log.sum
        const atMs = log.freeAt(nowMs, wanted, 20)
        if (atMs === undefined) {
          expect(before).toBeLessThan(wanted)
          return
        }
        log.expire(atMs - 1, 20)
        expect(before - log.sum).toBeLessThan(wanted)
        log.expire(atMs, 20)
        expect(before - log.sum).toBeGreaterThanOrEqual(wanted)
      }),
    )
  })

  test('a refund goes to its own bucket, at most what is there, and nowhere when it is gone', () => {
    const log = new SlidingLog(100)
    const bucket = log.add(1_000, 5)
    log.refund(bucket, 2)
    expect(log.sum).toBe(3)
    log.refund(bucket, 9)
    expect(log.sum).toBe(0)
    log.expire(2_000, 0)
    log.refund(bucket, 1)
    expect(log.sum).toBe(0)
    expect(log.buckets.size).toBe(0)
  })
})
