import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { failureOf } from '../../src/providers/provider.js'
import { backoffMs } from '../../src/request/retry.js'

const policies = fc.record({
  maxAttempts: fc.integer({ min: 1, max: 20 }),
  baseMs: fc.nat(10_000),
  capMs: fc.nat(100_000),
})
const attempts = fc.integer({ min: 1, max: 2_000 })
const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const failure = failureOf('SRV', 'down')

describe('backoff', () => {
  test('full jitter: anywhere between nothing and the doubled base, never above the cap', () => {
    fc.assert(
      fc.property(attempts, policies, randoms, (attempt, policy, random) => {
        const delayMs = backoffMs(attempt, failure, policy, random)
        expect(delayMs).toBeGreaterThanOrEqual(0)
        expect(delayMs).toBeLessThanOrEqual(policy.capMs)
        expect(delayMs).toBeLessThanOrEqual(policy.baseMs && policy.baseMs * 2 ** (attempt - 1))
      }),
    )
  })

  test('a base of 0 means no wait, after any number of attempts', () => {
    const policy = { maxAttempts: 5_000, baseMs: 0, capMs: 3_000 }
    expect([1, 100, 2_000].map((attempt) => backoffMs(attempt, failure, policy, 0.5))).toEqual([0, 0, 0])
  })

  test('the ceiling doubles with each attempt until the cap, and the delay is that share of it', () => {
    const policy = { maxAttempts: 6, baseMs: 500, capMs: 3_000 }
    const ceilings = [1, 2, 3, 4, 5, 2_000].map((attempt) => backoffMs(attempt, failure, policy, 0.5) * 2)
    expect(ceilings).toEqual([500, 1_000, 2_000, 3_000, 3_000, 3_000])
    expect(backoffMs(3, failure, policy, 0)).toBe(0)
    expect(backoffMs(3, failure, policy, 0.25)).toBe(500)
  })

  test('what the provider asked for is never shortened, not even by the cap', () => {
    fc.assert(
      fc.property(attempts, policies, randoms, fc.nat(10_000_000), (attempt, policy, random, retryAfterMs) => {
        const asked = backoffMs(attempt, failureOf('RLR', 'slow down', { retryAfterMs }), policy, random)
        const own = backoffMs(attempt, failure, policy, random)
        expect(asked).toBe(Math.max(retryAfterMs, own))
      }),
    )
  })

  test('without a known failure it is the jitter alone', () => {
    expect(backoffMs(1, undefined, { maxAttempts: 2, baseMs: 100, capMs: 1_000 }, 0.5)).toBe(50)
  })
})
