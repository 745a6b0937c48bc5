import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { FreshMap, Registry } from '../src/registry.js'

test('a registry has what is there, in order of arrival', () => {
  const registry = new Registry<string, number>()
  for (const [index, key] of ['a', 'b', 'c'].entries()) registry.set(key, index)
  registry.delete('b')
  registry.delete('never there')
  expect([...registry]).toEqual([0, 2])
  expect(registry.size).toBe(2)
  expect(['a', 'b'].map((key) => [registry.has(key), registry.get(key)])).toEqual([
    [true, 0],
    [false, undefined],
  ])
})

test('what leaves while it is walked through is passed over, what comes is met', () => {
  const registry = new Registry<number, string>()
  registry.set(1, 'first')
  registry.set(2, 'second')
  const met: string[] = []
  for (const value of registry) {
    met.push(value)
    registry.delete(2)
    if (met.length === 1) registry.set(3, 'third')
  }
  expect(met).toEqual(['first', 'third'])
})

test('a fresh map is a map, emptied entry by entry or at once', () => {
  const map = new FreshMap<string, number>()
  map.set('a', 1)
  map.set('b', 2)
  expect([map.delete('a'), map.delete('a'), map.delete('b'), map.delete('b')]).toEqual([true, false, true, false])
  expect([map.size, map.get('b'), map.has('b')]).toEqual([0, undefined, false])
  map.set('c', 3)
  map.set('d', 4)
  expect([[...map], [...map.keys()], [...map.values()]]).toEqual([
    [
      ['c', 3],
      ['d', 4],
    ],
    ['c', 'd'],
    [3, 4],
  ])
  map.clear()
  expect([...map]).toEqual([])
})

/** MB that `turns` entries of 8 KB leave on the heap when only the young generation was collected since. */
function keptMb(set: (turn: number, value: unknown) => void, remove: (turn: number) => void, turns: number): number {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as (options?: { type: 'minor' }) => void
  set(0, undefined)
  gc() // What is there now is old.
  const before = process.memoryUsage().heapUsed
  for (let turn = 1; turn <= turns; turn++) {
    remove(turn)
    set(turn, Array(1_000).fill(turn))
    if (turn % 10 === 0) gc({ type: 'minor' })
  }
  gc({ type: 'minor' })
  gc({ type: 'minor' })
  return (process.memoryUsage().heapUsed - before) / 1e6
}

test('what leaves a registry that never empties is not kept by a table grown old', () => {
  const registry = new Registry<number, unknown>()
  expect(
    keptMb(
      (turn, value) => registry.set(turn, value),
      (turn) => registry.delete(turn - 2),
      2_000,
    ),
  ).toBeLessThan(4)
})

test.each(['delete', 'clear'] as const)('nor what leaves a fresh map by %s', (how) => {
  const map = new FreshMap<number, unknown>()
  // Five at a time: the table of the first four is replaced while they are in it.
  const leaveAll = { delete: () => [...map.keys()].every((key) => map.delete(key)), clear: () => map.clear() }[how]
  const leave = (turn: number) => turn % 5 === 0 && leaveAll()
  expect(keptMb((turn, value) => map.set(turn, value), leave, 2_000)).toBeLessThan(4)
})
