import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { DispatcherState } from '../../machines/vocabulary.js'
import { fleetState } from '../../src/observe/monitoring/report.js'
import { addCounts, bump, type Counts, newTally, note, percentile } from '../../src/observe/monitoring/tally.js'

const times = fc.array(fc.double({ min: 0.2, max: 3_600_000, noNaN: true }), { minLength: 1, maxLength: 200 })

function histogramOf(values: readonly number[]) {
  const { waits } = newTally()
  for (const value of values) note(waits, value)
  return waits
}

describe('times by buckets', () => {
  test('a percentile is within 2 % of the true one', () => {
    fc.assert(
      fc.property(times, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, share) => {
        const sorted = [...values].sort((a, b) => a - b)
        const exact = sorted[Math.max(1, Math.ceil(share * sorted.length)) - 1]!
        expect(Math.abs(percentile(histogramOf(values), share)! - exact) / exact).toBeLessThanOrEqual(0.02)
      }),
    )
  })

  test('merged, they are those of all values at once', () => {
    fc.assert(
      fc.property(times, times, (some, others) => {
        const merged = histogramOf(some)
        addCounts(merged as Counts, histogramOf(others) as Counts)
        const whole = histogramOf([...some, ...others])
        expect(merged.at).toEqual(whole.at)
        expect(merged.count).toBe(whole.count)
      }),
    )
  })

  test('none is null, none at all is 0, and a day is the most', () => {
    expect(percentile(histogramOf([]), 0.5)).toBeNull()
    expect(percentile(histogramOf([0, 0.05]), 0.99)).toBe(0)
    expect(percentile(histogramOf([1e12]), 0.5)).toBeCloseTo(percentile(histogramOf([86_400_000]), 0.5)!)
  })
})

describe('counts', () => {
  test('add up and are taken away, whatever their names', () => {
    const sum: Counts = {}
    const some = JSON.parse('{"a":1,"in":{"__proto__":2,"b":{"c":3}}}') as Counts
    addCounts(sum, some)
    addCounts(sum, some)
    expect(JSON.stringify(sum)).toBe('{"a":2,"in":{"__proto__":4,"b":{"c":6}}}')
    addCounts(sum, some, -1)
    expect(JSON.stringify(sum)).toBe(JSON.stringify(some))
  })

  test('begin at nothing', () => {
    const { outcomes } = newTally()
    bump(outcomes, 'constructor')
    bump(outcomes, 'constructor', 2)
    expect(outcomes.constructor).toBe(3)
  })
})

test('a fleet stands as the worst of those that were heard of lately', () => {
  const who = { name: 'a', host: 'h', pid: 1, startedMs: 0, pools: {} }
  const stateOf = (...heard: [state: DispatcherState, seenMsAgo: number][]) =>
    fleetState(heard.map(([state, seenMsAgo]) => ({ ...who, state, seenMsAgo })))
  expect(stateOf()).toBeUndefined()
  expect(stateOf(['synced', 100], ['synced', 0])).toBe('synced')
  expect(stateOf(['synced', 100], ['learning', 200])).toBe('learning')
  expect(stateOf(['synced', 100], ['learning', 10_000])).toBe('synced')
  expect(stateOf(['synced', 10_000])).toBeUndefined()
})
