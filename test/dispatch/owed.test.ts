import { describe, expect, test } from 'vitest'
import { Owed } from '../../src/dispatch/owed.js'

const NOTHING = { adjustments: [], freed: [], cuts: [], coolDowns: [], observed: [], service: [] }

describe('Owed', () => {
  test('is empty until something is owed, and again once it is taken', () => {
    const owed = new Owed()
    expect(owed.isEmpty).toBe(true)
    owed.free(1, 1)
    expect(owed.isEmpty).toBe(false)
    expect(owed.take()).toEqual({ ...NOTHING, freed: [[1, 1]] })
    expect(owed.isEmpty).toBe(true)
    expect(owed.take()).toEqual(NOTHING)
  })

  test('adds up by bucket, and keeps refunds and debts apart', () => {
    const owed = new Owed()
    for (const delta of [-2, -3, 4, 0]) owed.adjust(0, 7, delta)
    owed.adjust(0, 8, -1)
    owed.adjust(1, 7, -1)
    expect(owed.take().adjustments).toEqual([
      [0, 7, -5],
      [0, 7, 4],
      [0, 8, -1],
      [1, 7, -1],
    ])
  })

  test('a slot that is taken over from one freed is no news at all', () => {
    const owed = new Owed()
    owed.free(1, 1)
    owed.free(1, -1)
    expect(owed.isEmpty).toBe(true)
  })

  test('of several refusals the one of the latest grant counts, of several cool-downs the longest', () => {
    const owed = new Owed()
    for (const atMs of [500, 900, 700]) owed.cut(1, atMs)
    for (const untilMs of [5_000, 9_000, 7_000]) owed.coolDown(0, untilMs)
    expect(owed.coolDownOf(0)).toBe(9_000)
    expect(owed.coolDownOf(1)).toBe(0)
    expect(owed.take()).toEqual({ ...NOTHING, cuts: [[1, 900]], coolDowns: [[0, 9_000]] })
    expect(owed.coolDownOf(0)).toBe(0)
  })

  test('what headers said last counts; service is added up by flow', () => {
    const owed = new Owed()
    owed.observe(0, 10, 3, 1_000)
    owed.observe(0, 9, 4, 2_000)
    owed.serve(0, 'tenant', 'flow', 5)
    owed.serve(0, 'tenant', 'flow', -3)
    owed.serve(0, 'tenant', 'idle', 0)
    expect(owed.take()).toEqual({
      ...NOTHING,
      observed: [[0, 9, 4, 2_000]],
      service: [[0, 'tenant', 'flow', 2]],
    })
  })

  describe('a batch taken back', () => {
    const batchOf = (owed: Owed) => {
      owed.adjust(0, 7, -5)
      owed.adjust(0, 0, 4)
      owed.free(1, 2)
      owed.cut(1, 500)
      owed.coolDown(0, 9_000)
      return owed.take()
    }

    test('that may have been applied: debts, cuts and cool-downs again, a refund never twice', () => {
      const owed = new Owed()
      owed.takeBack(batchOf(owed), true)
      expect(owed.take()).toEqual({ ...NOTHING, adjustments: [[0, 0, 4]], cuts: [[1, 500]], coolDowns: [[0, 9_000]] })
    })

    test('that was certainly not applied: refunds too; slots are declared anew', () => {
      const owed = new Owed()
      owed.takeBack(batchOf(owed), false)
      expect(owed.take()).toEqual({
        ...NOTHING,
        adjustments: [
          [0, 7, -5],
          [0, 0, 4],
        ],
        cuts: [[1, 500]],
        coolDowns: [[0, 9_000]],
      })
    })

    test('joins what was owed since', () => {
      const owed = new Owed()
      const batch = batchOf(owed)
      owed.adjust(0, 0, 1)
      owed.coolDown(0, 8_000)
      owed.takeBack(batch, true)
      expect(owed.take()).toEqual({ ...NOTHING, adjustments: [[0, 0, 5]], cuts: [[1, 500]], coolDowns: [[0, 9_000]] })
    })
  })

  test('a store that forgot what was spent is owed no correction of it, a new process id no slot', () => {
    const owed = new Owed()
    owed.adjust(0, 7, 5)
    owed.free(1, 2)
    owed.forgetSpending()
    expect(owed.take()).toEqual({ ...NOTHING, freed: [[1, 2]] })
    owed.free(1, 2)
    owed.forgetFormer()
    expect(owed.isEmpty).toBe(true)
  })
})
