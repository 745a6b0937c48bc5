import { expect, test } from 'vitest'
import { Registry } from '../src/registry.js'

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
