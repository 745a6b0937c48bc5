import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FairQueue } from '../../src/dispatch/fair-queue.js'

function drain<T>(queue: FairQueue<T>, count = Number.POSITIVE_INFINITY): T[] {
  const items: T[] = []
  for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
    items.push(item)
    if (items.length >= count) break
  }
  return items
}

describe('FairQueue', () => {
  test('serves first come, first served inside a flow', () => {
    const queue = new FairQueue<number>()
    for (const item of [1, 2, 3]) queue.add('a', 1, 1, item)
    expect(drain(queue)).toEqual([1, 2, 3])
  })

  test('shares turns by weight', () => {
    const queue = new FairQueue<string>()
    for (let i = 0; i < 300; i++) {
      queue.add('light', 1, 1, 'light')
      queue.add('heavy', 4, 1, 'heavy')
    }
    const heavy = drain(queue, 100).filter((item) => item === 'heavy').length
    expect(heavy).toBe(80)
  })

  test('an idle flow comes back without credit', () => {
    const queue = new FairQueue<string>()
    for (let i = 0; i < 20; i++) queue.add('busy', 1, 1, 'busy')
    drain(queue, 10)
    for (let i = 0; i < 20; i++) queue.add('late', 1, 1, 'late')
    const next = drain(queue, 10)
    expect(next.filter((item) => item === 'late').length).toBe(5)
  })

  test('a flow that emptied still pays for what it took', () => {
    const queue = new FairQueue<string>()
    queue.add('a', 1, 10, 'a')
    for (let i = 0; i < 20; i++) queue.add('b', 1, 1, 'b')
    expect(drain(queue, 1)).toEqual(['a'])
    queue.add('a', 1, 10, 'a')
    expect(drain(queue, 10)).toEqual(Array(10).fill('b'))
  })

  test('who comes back stands where it would had it never left, and its flow no longer pays for it', () => {
    const queue = new FairQueue<string>()
    const places = ['a1', 'a2', 'a3'].map((item) => queue.add('a', 1, 1, item))
    for (const item of ['b1', 'b2', 'b3']) queue.add('b', 1, 1, item)
    expect(drain(queue, 4)).toEqual(['a1', 'b1', 'a2', 'b2'])
    queue.add('a', 1, 1, 'a1', places[0]!.order)
    queue.add('a', 1, 1, 'a4')
    queue.add('a', 1, 1, 'a2', places[1]!.order)
    expect(drain(queue)).toEqual(['a1', 'a2', 'a3', 'b3', 'a4'])
  })

  test('peek shows fair order, bounded by flow, and changes nothing', () => {
    const queue = new FairQueue<string>()
    for (const item of ['a1', 'a2', 'a3']) queue.add('a', 1, 1, item)
    for (const item of ['b1', 'b2']) queue.add('b', 1, 1, item)
    expect(queue.peek(4, () => 2).map(({ item }) => item)).toEqual(['a1', 'b1', 'a2', 'b2'])
    expect(queue.peek(9, (key) => (key === 'a' ? 0 : 9)).map(({ item }) => item)).toEqual(['b1', 'b2'])
    expect(queue.size).toBe(5)
  })

  test('peek foretells shift, and nothing is lost, whatever is added and removed', () => {
    const step = fc.oneof(
      fc.record({ add: fc.constantFrom('a', 'b', 'c'), cost: fc.integer({ min: 1, max: 9 }) }),
      fc.record({ remove: fc.nat(30) }),
      fc.constant({ shift: true as const }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const queue = new FairQueue<number>()
        const places = new Map<number, ReturnType<typeof queue.add>>()
        let next = 0
        for (const now of steps) {
          if ('add' in now) {
            places.set(next, queue.add(now.add, now.add === 'a' ? 3 : 1, now.cost, next))
            next++
          } else if ('remove' in now) {
            const place = places.get(now.remove)
            if (place) expect(queue.remove(place)).toBe(places.delete(now.remove))
          } else {
            const [foretold] = queue.peek(1, () => 1)
            const item = queue.shift()
            expect(item).toBe(foretold?.item)
            if (item !== undefined) places.delete(item)
          }
          expect(queue.size).toBe(places.size)
        }
        expect(new Set(drain(queue))).toEqual(new Set(places.keys()))
      }),
    )
  })
})
