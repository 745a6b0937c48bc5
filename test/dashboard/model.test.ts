import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Model } from '../../src/surfaces/dashboard/page/model.js'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

const snapshot = (missed = 0) => ({ atMs: Date.now(), pid: 1, host: 'h', counts: {}, requests: [], missed })
const batch = (untold: number) => ({
  atMs: Date.now(),
  counts: {},
  flow: {},
  steps: [],
  failures: [],
  ends: [],
  untold,
})

test('what the page missed is told for a while, then no more', () => {
  const model = new Model()
  model.begin(snapshot(3))
  model.begin(snapshot(2))
  vi.advanceTimersByTime(20_000)
  model.forgetMissed()
  expect(model.missed).toBe(5)
  vi.advanceTimersByTime(20_000)
  model.forgetMissed()
  expect(model.missed).toBe(0)
})

test('a new beginning forgets how many requests were too many to list', () => {
  const model = new Model()
  model.begin(snapshot())
  model.apply(batch(7))
  expect(model.untold).toBe(7)
  model.begin(snapshot())
  expect(model.untold).toBe(0)
})
