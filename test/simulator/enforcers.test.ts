import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { enforcerOf } from '../../src/testing/simulator/enforcers.js'

const NEVER = Number.POSITIVE_INFINITY

/** Requests in order of time; `forced` ones are charged even when refused, as OpenAI does. */
const requests = fc.array(
  fc.record({
    gapMs: fc.integer({ min: 0, max: 12 }),
    amount: fc.integer({ min: 1, max: 9 }),
    forced: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  }),
  { maxLength: 60 },
)
const settings = fc.record({ limit: fc.integer({ min: 1, max: 20 }), windowMs: fc.integer({ min: 1, max: 30 }) })

interface Charge {
  readonly atMs: number
  readonly amount: number
}
const sumOf = (charges: readonly Charge[], within: (charge: Charge) => boolean) =>
  charges.filter(within).reduce((sum, { amount }) => sum + amount, 0)

describe('sliding', () => {
  test('is the default, and holds every window (t − windowMs, t]', () => {
    const window = enforcerOf({ limit: 3, windowMs: 1000 })
    expect(window.remaining(0)).toBe(3)
    window.charge(0, 1)
    window.charge(400, 2)
    expect(window.remaining(400)).toBe(0)
    expect(window.waitMs(400, 1)).toBe(600)
    expect(window.waitMs(999, 1)).toBe(1)
    expect(window.waitMs(1000, 1)).toBe(0)
    expect(window.waitMs(1000, 2)).toBe(400)
    expect(window.remaining(1399)).toBe(1)
    expect(window.remaining(1400)).toBe(3)
  })

  test('never lets in what is more than the limit, and asking charges nothing', () => {
    const window = enforcerOf({ limit: 3, windowMs: 1000, kind: 'sliding' })
    expect(window.waitMs(0, 4)).toBe(NEVER)
    for (let i = 0; i < 5; i++) expect(window.waitMs(0, 3)).toBe(0)
    expect(window.remaining(0)).toBe(3)
  })

  test('agrees with a count of everything charged, however requests fall', () => {
    fc.assert(
      fc.property(settings, requests, ({ limit, windowMs }, all) => {
        const window = enforcerOf({ limit, windowMs, kind: 'sliding' })
        const charges: Charge[] = []
        const usedAt = (t: number) => sumOf(charges, ({ atMs }) => atMs > t - windowMs && atMs <= t)
        let nowMs = 0
        for (const { gapMs, amount, forced } of all) {
          nowMs += gapMs
          let waitMs = 0
          // Charges only leave while time passes: the first instant with room is the answer.
          const usedLater = (t: number) => sumOf(charges, ({ atMs }) => atMs > t - windowMs)
          while (amount <= limit && usedLater(nowMs + waitMs) + amount > limit) waitMs++
          expect(window.waitMs(nowMs, amount)).toBe(amount > limit ? NEVER : waitMs)
          expect(window.remaining(nowMs)).toBe(Math.max(0, limit - usedAt(nowMs)))
          if (!forced && window.waitMs(nowMs, amount) > 0) continue
          window.charge(nowMs, amount)
          charges.push({ atMs: nowMs, amount })
        }
      }),
    )
  })

  test('what it lets in never exceeds the limit in any window', () => {
    fc.assert(
      fc.property(settings, requests, ({ limit, windowMs }, all) => {
        const window = enforcerOf({ limit, windowMs })
        const charges: Charge[] = []
        let nowMs = 0
        for (const { gapMs, amount } of all) {
          nowMs += gapMs
          if (window.waitMs(nowMs, amount) > 0) continue
          window.charge(nowMs, amount)
          charges.push({ atMs: nowMs, amount })
        }
        for (let t = 0; t <= nowMs; t++) {
          expect(sumOf(charges, ({ atMs }) => atMs >= t && atMs < t + windowMs)).toBeLessThanOrEqual(limit)
        }
      }),
    )
  })
})

describe('fixed', () => {
  test('counts per calendar window, so twice the limit passes around a boundary', () => {
    const window = enforcerOf({ limit: 2, windowMs: 1000, kind: 'fixed' })
    window.charge(999, 2)
    expect(window.remaining(999)).toBe(0)
    expect(window.waitMs(999, 1)).toBe(1)
    expect(window.waitMs(1000, 2)).toBe(0)
    window.charge(1000, 2)
    expect(window.waitMs(1001, 1)).toBe(999)
    expect(window.waitMs(1001, 3)).toBe(NEVER)
    expect(window.remaining(2000)).toBe(2)
  })

  test('agrees with a count by window number', () => {
    fc.assert(
      fc.property(settings, requests, ({ limit, windowMs }, all) => {
        const window = enforcerOf({ limit, windowMs, kind: 'fixed' })
        const used = new Map<number, number>()
        let nowMs = 0
        for (const { gapMs, amount, forced } of all) {
          nowMs += gapMs
          const number = Math.floor(nowMs / windowMs)
          const sum = used.get(number) ?? 0
          const fits = sum + amount <= limit
          const waitMs = fits ? 0 : amount > limit ? NEVER : windowMs - (nowMs % windowMs)
          expect(window.waitMs(nowMs, amount)).toBe(waitMs)
          expect(window.remaining(nowMs)).toBe(Math.max(0, limit - sum))
          if (!fits && !forced) continue
          window.charge(nowMs, amount)
          used.set(number, sum + amount)
        }
      }),
    )
  })
})

describe('token bucket', () => {
  test('begins full, refills steadily, and holds no more than its limit', () => {
    const bucket = enforcerOf({ limit: 10, windowMs: 1000, kind: 'token-bucket' })
    expect(bucket.remaining(5000)).toBe(10)
    bucket.charge(5000, 10)
    expect(bucket.waitMs(5000, 1)).toBe(100)
    expect(bucket.waitMs(5050, 1)).toBe(50)
    expect(bucket.remaining(5050)).toBe(0)
    expect(bucket.waitMs(5100, 1)).toBe(0)
    expect(bucket.waitMs(5100, 10)).toBe(900)
    expect(bucket.remaining(5299)).toBe(2)
    expect(bucket.remaining(60_000)).toBe(10)
    expect(bucket.waitMs(60_000, 11)).toBe(NEVER)
  })

  test('what is charged though refused must be earned first', () => {
    const bucket = enforcerOf({ limit: 10, windowMs: 1000, kind: 'token-bucket' })
    bucket.charge(0, 10)
    bucket.charge(0, 5)
    expect(bucket.remaining(0)).toBe(0)
    expect(bucket.waitMs(0, 1)).toBe(600)
    expect(bucket.remaining(500)).toBe(0)
    expect(bucket.remaining(600)).toBe(1)
  })

  test('agrees with whole-number arithmetic, however requests fall', () => {
    fc.assert(
      fc.property(settings, requests, ({ limit, windowMs }, all) => {
        const bucket = enforcerOf({ limit, windowMs, kind: 'token-bucket' })
        // In units of 1 / windowMs of a token everything is whole.
        const full = limit * windowMs
        let level = full
        let nowMs = 0
        for (const { gapMs, amount, forced } of all) {
          nowMs += gapMs
          level = Math.min(full, level + gapMs * limit)
          const missing = amount * windowMs - level
          if (amount > limit) expect(bucket.waitMs(nowMs, amount)).toBe(NEVER)
          else expect(bucket.waitMs(nowMs, amount)).toBeCloseTo(Math.max(0, missing) / limit, 6)
          if (missing > 0 && !forced) continue
          bucket.charge(nowMs, amount)
          level -= amount * windowMs
        }
      }),
    )
  })
})

describe('per second', () => {
  test('a sliding window, and a share of it in every second', () => {
    const window = enforcerOf({ limit: 180, windowMs: 60_000, kind: 'per-second' })
    window.charge(0, 3)
    expect(window.remaining(0)).toBe(0)
    expect(window.waitMs(400, 1)).toBe(600)
    expect(window.remaining(1_000)).toBe(3)
    expect(window.waitMs(1_000, 181)).toBe(NEVER)
    for (let second = 1; second < 60; second++) window.charge(second * 1_000, 3)
    expect(window.waitMs(59_999, 1)).toBe(1)
    expect(window.waitMs(60_000, 3)).toBe(0)
  })

  test('what is larger than the share passes where nothing else did within the second', () => {
    const window = enforcerOf({ limit: 600, windowMs: 60_000, kind: 'per-second' })
    expect(window.waitMs(0, 100)).toBe(0)
    window.charge(0, 100)
    expect(window.waitMs(1, 1)).toBe(999)
    expect(window.waitMs(1_000, 100)).toBe(0)
    expect(window.waitMs(1_000, 501)).toBe(59_000)
  })

  test('the share moves with the limit', () => {
    const window = enforcerOf({ limit: 60, windowMs: 60_000, kind: 'per-second' })
    window.charge(0, 1)
    expect(window.waitMs(0, 1)).toBe(1_000)
    window.limit = 120
    expect([window.limit, window.waitMs(0, 1)]).toEqual([120, 0])
  })

  test('agrees with two sliding windows, however requests fall', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), requests, (share, all) => {
        const window = enforcerOf({ limit: share * 5, windowMs: 5_000, kind: 'per-second' })
        const whole = enforcerOf({ limit: share * 5, windowMs: 5_000 })
        const second = enforcerOf({ limit: share, windowMs: 1_000 })
        let nowMs = 0
        for (const { gapMs, amount } of all) {
          nowMs += gapMs * 100
          const waitMs = Math.max(whole.waitMs(nowMs, amount), second.waitMs(nowMs, Math.min(amount, share)))
          expect(window.waitMs(nowMs, amount)).toBe(waitMs)
          if (waitMs > 0) continue
          for (const each of [window, whole, second]) each.charge(nowMs, amount)
        }
      }),
    )
  })
})
