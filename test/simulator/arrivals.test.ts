import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ArrivalRecord, worstWindow } from '../../src/testing/index.js'
import { reportOf } from '../../src/testing/simulator/arrivals.js'

interface Arrival {
  readonly atMs: number
  readonly weight: number
}
const weightOf = ({ weight }: Arrival) => weight

describe('worstWindow', () => {
  test.each([
    ['none', [], 1000, 0],
    ['one', [[0, 3]], 1000, 3],
    [
      'two a window apart',
      [
        [0, 3],
        [1000, 4],
      ],
      1000,
      4,
    ],
    [
      'two just within a window',
      [
        [0.001, 3],
        [1000, 4],
      ],
      1000,
      7,
    ],
    [
      'two at once',
      [
        [5, 3],
        [5, 4],
      ],
      1,
      7,
    ],
    [
      'a burst around a boundary',
      [
        [0, 1],
        [990, 5],
        [1010, 5],
        [2500, 6],
      ],
      1000,
      10,
    ],
  ] as const)('of %s', (_, arrivals, windowMs, worst) => {
    const records = arrivals.map(([atMs, weight]) => ({ atMs, weight }))
    expect(worstWindow(records, windowMs, weightOf)).toBe(worst)
  })

  test('is the largest sum over every window there is', () => {
    const arrivals = fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 50 })), {
      maxLength: 40,
    })
    fc.assert(
      fc.property(arrivals, fc.integer({ min: 1, max: 40 }), (steps, windowMs) => {
        let atMs = 0
        const records = steps.map(([gapMs, weight]) => {
          atMs += gapMs
          return { atMs, weight }
        })
        let worst = 0
        for (let t = 0; t <= atMs + windowMs; t++) {
          const inside = records.filter((record) => record.atMs > t - windowMs && record.atMs <= t)
          worst = Math.max(
            worst,
            inside.reduce((sum, { weight }) => sum + weight, 0),
          )
        }
        expect(worstWindow(records, windowMs, weightOf)).toBe(worst)
      }),
    )
  })
})

describe('reportOf', () => {
  const arrival = (atMs: number, more: Partial<ArrivalRecord> = {}): ArrivalRecord => ({
    atMs,
    wallMs: 0,
    promptTokens: 1,
    tokens: 10,
    inFlight: 1,
    id: null,
    status: 200,
    code: null,
    ...more,
  })

  test('of nothing', () => {
    expect(reportOf([], [{ dimension: 'requests', limit: 5, windowMs: 1000 }], 0)).toEqual({
      requests: 0,
      accepted: 0,
      errorsByCode: {},
      errors429ByCode: {},
      worstWindowRatio: 0,
      windows: [{ limit: 'requests', windowMs: 1000, allowed: 5, worst: 0, ratio: 0 }],
      maxInFlight: 0,
      firstAtMs: 0,
      lastAtMs: 0,
      notLogged: 0,
    })
  })

  test('counts codes, those of 429 apart, the most in flight, and every window refused ones included', () => {
    const log = [
      arrival(100),
      arrival(200, { inFlight: 7, tokens: 25 }),
      arrival(300, { inFlight: 3, status: 429, code: '1302' }),
      arrival(400, { status: 429, code: '1302' }),
      arrival(5000, { status: 500, code: '1234' }),
    ]
    const limits = [
      { dimension: 'requests', limit: 8, windowMs: 1000 },
      { dimension: 'tokens', limit: 50, windowMs: 200 },
    ] as const
    expect(reportOf(log, limits, 2)).toEqual({
      requests: 5,
      accepted: 2,
      errorsByCode: { '1302': 2, '1234': 1 },
      errors429ByCode: { '1302': 2 },
      worstWindowRatio: 0.7,
      windows: [
        { limit: 'requests', windowMs: 1000, allowed: 8, worst: 4, ratio: 0.5 },
        { limit: 'tokens', windowMs: 200, allowed: 50, worst: 35, ratio: 0.7 },
      ],
      maxInFlight: 7,
      firstAtMs: 100,
      lastAtMs: 5000,
      notLogged: 2,
    })
  })
})
