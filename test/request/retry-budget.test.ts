import { expect, test } from 'vitest'
import { backoffMs } from '../../src/request/retry.js'
import { RetryBudget } from '../../src/request/retry-budget.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

function budgetOf(ratio: number, minPerSecond: number) {
  const clock = new VirtualClock()
  const budget = new RetryBudget(clock, { ratio, minPerSecond })
  const times = (count: number, act: () => void) => {
    for (let done = 0; done < count; done++) act()
  }
  const spent = (tries: number) => {
    const { made } = budget.counts
    times(tries, () => budget.book())
    return budget.counts.made - made
  }
  return { clock, budget, spent, earn: (count: number) => times(count, () => budget.earn()) }
}

test('retries are a share of the requests of the last ten seconds', () => {
  const { clock, budget, spent, earn } = budgetOf(0.2, 0)
  expect(spent(5)).toBe(0)
  earn(50)
  expect(spent(30)).toBe(10)
  clock.advance(9_000)
  expect(spent(5)).toBe(0)
  clock.advance(1_000)
  // Requests and retries of then are forgotten together.
  expect(spent(5)).toBe(0)
  earn(5)
  expect(spent(5)).toBe(1)
  expect(budget.counts).toEqual({ made: 11, overBudget: 39 })
})

test('who sends little may retry at all, and can save nothing up', () => {
  const { clock, spent } = budgetOf(0.2, 1)
  expect(spent(20)).toBe(10)
  clock.advance(60_000)
  expect(spent(20)).toBe(10)
})

test('in any ten seconds there are no more than allowed, however they come', () => {
  const { clock, budget, earn } = budgetOf(0.5, 0)
  const retries: number[] = []
  for (let step = 0; step < 400; step++) {
    clock.advance(130)
    if (step % 3 === 0) earn(1)
    if (budget.book() !== undefined) retries.push(clock.now())
  }
  expect(retries.length).toBeGreaterThan(20)
  for (const sinceMs of retries) {
    // A window that begins inside a second is counted from its next one on.
    const within = retries.filter((atMs) => atMs > sinceMs && atMs < sinceMs + 9_000).length
    expect(within).toBeLessThanOrEqual(Math.ceil(0.5 * (10_000 / 390)) + 1)
  }
})

test('without bounds every retry is made', () => {
  expect(budgetOf(0, Number.POSITIVE_INFINITY).spent(10_000)).toBe(10_000)
})

test('what is too much now is booked for the first second that has room, first come first served', () => {
  const { clock, budget, spent } = budgetOf(0, 0.2)
  expect(spent(2)).toBe(2)
  clock.advance(2_500)
  // At 10 s the two are out of the window.
  expect([budget.book(60_000), budget.book(60_000), budget.book(60_000)]).toEqual([7_500, 7_500, 17_500])
  clock.advance(10_000)
  // Nobody goes before who has booked, nor further ahead than 30 s.
  expect(budget.book()).toBeUndefined()
  expect([budget.book(60_000), budget.book(60_000)]).toEqual([7_500, 17_500])
  expect([budget.book(60_000), budget.book(60_000), budget.book(60_000)]).toEqual([17_500, 27_500, 27_500])
  expect(budget.book(60_000)).toBeUndefined()
  expect(budget.counts).toEqual({ made: 10, overBudget: 2 })
})

test('a retry is booked no later than who asks can wait', () => {
  const { budget, spent } = budgetOf(0, 0.1)
  expect(spent(1)).toBe(1)
  expect(budget.book(9_999)).toBeUndefined()
  expect(budget.book(10_000)).toBe(10_000)
})

/** Requests that each fail until the provider is up again, and back off as configured by default. */
function outage(requests: number, outageMs: number) {
  const clock = new VirtualClock()
  const budget = new RetryBudget(clock, { ratio: 0.2, minPerSecond: 10 })
  const random = seeded(7)
  const ends = { completed: 0, attempts: 0, budget: 0 }
  const retriedAtMs: number[] = []
  const attempt = (number: number): void => {
    if (number > 1) retriedAtMs.push(clock.now())
    if (clock.now() >= outageMs) ends.completed++
    else if (number === 6) ends.attempts++
    else {
      const waitMs = budget.book(60_000)
      if (waitMs === undefined) ends.budget++
      else {
        const policy = { maxAttempts: 6, baseMs: 500, capMs: 30_000 }
        clock.setTimeout(() => attempt(number + 1), Math.max(waitMs, backoffMs(number, undefined, policy, random())))
      }
    }
  }
  for (let request = 0; request < requests; request++) {
    budget.earn()
    attempt(1)
  }
  clock.advance(300_000)
  return { ...ends, retriedAtMs }
}

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}

test('by default a full pool gets over a short outage, and nobody is refused a retry', () => {
  expect(outage(256, 2_000)).toMatchObject({ budget: 0, completed: 256 })
})

test('by default ten full pools don’t multiply what a provider that is down gets', () => {
  const { retriedAtMs, budget } = outage(2_560, 60_000)
  expect(budget).toBeGreaterThan(1_000)
  for (const [index, atMs] of retriedAtMs.entries()) {
    const inTenSeconds = retriedAtMs.slice(index).filter((laterMs) => laterMs < atMs + 9_000)
    expect(inTenSeconds.length).toBeLessThanOrEqual(0.2 * 2_560 + 2 * 100)
  }
})
