import { describe, expect, test } from 'vitest'
import { Floor } from '../../src/dispatch/floor.js'
import { HOLD_MS, rate, slots } from './small-fleet.js'

const WINDOW_MS = 10_000
const MARGIN_MS = 100
const LEASE_END_MS = 5_000
const ISOLATED_MS = 60_000
const OPENS_MS = LEASE_END_MS + WINDOW_MS + HOLD_MS + MARGIN_MS
const CLOSES_MS = LEASE_END_MS + ISOLATED_MS - MARGIN_MS
const ALL = [0, 1, 2]

/** Two requests, 100 tokens and one slot, unless told otherwise. */
function floorOf({ floors = [2, 100, 1], held = [] as [number, number][], isolatedMs = ISOLATED_MS, roundTripMs = 0 }) {
  const limits = [rate('requests', 9, WINDOW_MS), rate('tokens', 900, WINDOW_MS, 'tokens'), slots('calls', 9)]
  return new Floor(limits, floors, held, LEASE_END_MS, isolatedMs, roundTripMs)
}

describe('Floor', () => {
  test('opens once all that anybody was granted before has left the windows', () => {
    const floor = floorOf({})
    expect(floor.fitsAt(ALL, 10, LEASE_END_MS)).toBe(OPENS_MS)
    expect(floor.fitsAt(ALL, 10, OPENS_MS)).toBe(OPENS_MS)
    // A slot is nobody's window: it opens with the guard.
    expect(floor.fitsAt([2], 0, 0)).toBe(LEASE_END_MS + HOLD_MS + MARGIN_MS)
  })

  test('closes when nothing is set aside for it any more, by the earliest end that its lease may have had', () => {
    expect(floorOf({}).closesMs).toBe(CLOSES_MS)
    expect(floorOf({ roundTripMs: 700 }).closesMs).toBe(CLOSES_MS - 700)
    expect(floorOf({}).fitsAt(ALL, 10, CLOSES_MS - 1)).toBe(CLOSES_MS - 1)
    expect(floorOf({}).fitsAt(ALL, 10, CLOSES_MS)).toBeUndefined()
  })

  test('never serves what it has no share of, or what it would open for too late', () => {
    expect(floorOf({}).serves(ALL)).toBe(true)
    expect(floorOf({ floors: [2, 0, 1] }).serves(ALL)).toBe(false)
    expect(floorOf({ floors: [2, 0, 1] }).serves([0, 2])).toBe(true)
    expect(floorOf({ floors: [] }).serves([2])).toBe(false)
    expect(floorOf({ isolatedMs: WINDOW_MS }).serves(ALL)).toBe(false)
    expect(floorOf({ isolatedMs: WINDOW_MS }).serves([2])).toBe(true)
  })

  test('gives no more than its share in any window', () => {
    const floor = floorOf({})
    for (const atMs of [OPENS_MS, OPENS_MS + 1_000]) {
      expect(floor.fitsAt([0], 0, atMs)).toBe(atMs)
      floor.take([0], 0, atMs)
    }
    const freeAtMs = floor.fitsAt([0], 0, OPENS_MS + 1_000)!
    expect(freeAtMs).toBeGreaterThanOrEqual(OPENS_MS + WINDOW_MS + HOLD_MS)
    floor.take([0], 0, freeAtMs)
    expect(floor.fitsAt([0], 0, freeAtMs)).toBeGreaterThanOrEqual(OPENS_MS + 1_000 + WINDOW_MS + HOLD_MS)
  })

  test('takes all dimensions or waits for the last of them', () => {
    const floor = floorOf({ floors: [2, 100, 2] })
    floor.take(ALL, 95, OPENS_MS)
    expect(floor.fitsAt(ALL, 5, OPENS_MS + 1)).toBe(OPENS_MS + 1)
    expect(floor.fitsAt(ALL, 6, OPENS_MS + 1)).toBeGreaterThan(OPENS_MS + WINDOW_MS)
    expect(floor.fitsAt(ALL, 101, OPENS_MS + 1)).toBeUndefined()
  })

  test('slots come back with the end of a call, of this floor or begun before it', () => {
    const floor = floorOf({ held: [[2, 1]] })
    expect(floor.fitsAt([2], 0, OPENS_MS)).toBeUndefined()
    floor.free(ALL)
    expect(floor.fitsAt([2], 0, OPENS_MS)).toBe(OPENS_MS)
    floor.take([2], 0, OPENS_MS)
    expect(floor.fitsAt([2], 0, OPENS_MS)).toBeUndefined()
  })

  test('what a call used beyond its estimate is owed at once', () => {
    const floor = floorOf({ floors: [9, 100, 9] })
    floor.take(ALL, 50, OPENS_MS)
    floor.owe(ALL, 40, OPENS_MS + 500)
    expect(floor.fitsAt(ALL, 10, OPENS_MS + 500)).toBe(OPENS_MS + 500)
    expect(floor.fitsAt(ALL, 11, OPENS_MS + 500)).toBeGreaterThan(OPENS_MS + WINDOW_MS)
    // More requests were not made of it.
    expect(floor.fitsAt([0], 0, OPENS_MS + 500)).toBe(OPENS_MS + 500)
  })
})
