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

  const charges = fc.array(fc.record({ bucket: fc.nat(60), amount: fc.integer({ min: 0, max: 9 }) }), { minLength: 1 })
  /** In whatever order: grants are dated ahead. */
  const logOf = (rows: readonly { bucket: number; amount: number }[]) => {
    const log = new SlidingLog(100, 20)
    for (const { bucket, amount } of rows) log.add(bucket, amount)
    return log
  }

  test('buckets are kept in order, whatever the order of the dates', () => {
    fc.assert(
      fc.property(charges, (rows) => {
        const buckets = [...logOf(rows).buckets()]
        expect(buckets.map(([bucket]) => bucket)).toEqual(
          [...new Set(rows.map(({ bucket }) => bucket))].sort((a, b) => a - b),
        )
        expect(buckets.reduce((sum, [, amount]) => sum + amount, 0)).toBe(logOf(rows).sum)
      }),
    )
  })

  test('freeAt foretells the first instant at which enough is gone, freedBy how much is by then', () => {
    fc.assert(
      fc.property(charges, fc.integer({ min: 1, max: 60 }), (rows, wanted) => {
        const log = logOf(rows)
        const before = log.sum
        const atMs = log.freeAt(0, wanted)
        if (atMs === undefined) {
          expect(before).toBeLessThan(wanted)
          return
        }
        expect(log.freedBy(atMs - 1)).toBeLessThan(wanted)
        const freed = log.freedBy(atMs)
        expect(freed).toBeGreaterThanOrEqual(wanted)
        log.expire(atMs)
        expect(before - log.sum).toBe(freed)
      }),
    )
  })

  test('what is not missing is free at once', () => {
    expect(new SlidingLog(100, 20).freeAt(7, 0)).toBe(7)
  })

  test('a refund goes to its own bucket, at most what is there, and nowhere when it is gone', () => {
    const log = new SlidingLog(100, 0)
    log.add(1_000, 5)
    log.refund(1_000, 2)
    expect(log.sum).toBe(3)
    log.refund(1_000, 9)
    expect(log.sum).toBe(0)
    log.expire(2_000)
    log.refund(1_000, 1)
    expect(log.sum).toBe(0)
    expect(log.size).toBe(0)
  })
})
