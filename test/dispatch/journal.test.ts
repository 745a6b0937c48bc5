import { describe, expect, test } from 'vitest'
import { Journal } from '../../src/dispatch/journal.js'
import { HOLD_MS, MINUTE_MS, rate, slots } from './small-fleet.js'

const WIDTH_MS = MINUTE_MS / 600
const LIMITS = [rate('requests', 10), slots('calls', 3), rate('daily', 1_000, 24 * 60 * MINUTE_MS, 'tokens')]

describe('Journal', () => {
  test('adds up what was spent by limit and bucket, and knows nothing of slots', () => {
    const journal = new Journal(LIMITS)
    journal.add(0, 7, 1)
    journal.add(0, 7, 1)
    journal.add(0, 9, 1)
    journal.add(1, 7, 1)
    journal.add(2, 3, 50)
    expect(journal.charges).toEqual([
      [0, 7, 2],
      [0, 9, 1],
      [2, 3, 50],
    ])
  })

  test('what went back is not spent; nothing goes back that was not', () => {
    const journal = new Journal(LIMITS)
    journal.add(0, 7, 2)
    journal.add(0, 8, 1)
    journal.refund(0, 7, 1)
    journal.refund(0, 8, 5)
    journal.refund(0, 99, 1)
    expect(journal.charges).toEqual([[0, 7, 1]])
  })

  test('forgets each bucket when no window counts it any more', () => {
    const journal = new Journal(LIMITS)
    journal.add(0, 0, 1)
    journal.add(2, 0, 50)
    journal.expire(WIDTH_MS + MINUTE_MS + HOLD_MS - 1)
    expect(journal.charges).toHaveLength(2)
    journal.expire(WIDTH_MS + MINUTE_MS + HOLD_MS)
    expect(journal.charges).toEqual([[2, 0, 50]])
  })

  test('shifted by a jump of the clock, no charge counts for less than its window', () => {
    const journal = new Journal(LIMITS)
    journal.add(0, 0, 1)
    const jumpMs = 2 * MINUTE_MS + 1
    journal.shift(jumpMs)
    // Whole buckets: later rather than earlier.
    expect(journal.charges).toEqual([[0, Math.ceil(jumpMs / WIDTH_MS), 1]])
    journal.expire(jumpMs + WIDTH_MS + MINUTE_MS + HOLD_MS - 1)
    expect(journal.charges).toHaveLength(1)
  })
})
