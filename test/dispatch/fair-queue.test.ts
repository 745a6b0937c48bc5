import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FairQueue, type Place } from '../../src/dispatch/fair-queue.js'
import { UNPLACED } from './unplaced.js'

interface Item extends Place<Item> {
  readonly name: string
}

function items(...names: string[]): Item[] {
  return names.map((name) => ({ ...UNPLACED, name }))
}

function fill(queue: FairQueue<Item>, key: string, weight: number, cost: number, ...names: string[]): Item[] {
  const added = items(...names)
  for (const item of added) queue.add(key, weight, cost, item)
  return added
}

function drain(queue: FairQueue<Item>, count = Number.POSITIVE_INFINITY): string[] {
  const names: string[] = []
  for (let item = queue.shift(); item; item = queue.shift()) {
    names.push(item.name)
    if (names.length >= count) break
  }
  return names
}

describe('FairQueue', () => {
  test('serves first come, first served inside a flow', () => {
    const queue = new FairQueue<Item>()
    fill(queue, 'a', 1, 1, '1', '2', '3')
    expect(drain(queue)).toEqual(['1', '2', '3'])
  })

  test('shares turns by weight', () => {
    const queue = new FairQueue<Item>()
    for (let i = 0; i < 300; i++) {
      fill(queue, 'light', 1, 1, 'light')
      fill(queue, 'heavy', 4, 1, 'heavy')
    }
    const heavy = drain(queue, 100).filter((name) => name === 'heavy').length
    expect(heavy).toBe(80)
  })

  test('an idle flow comes back without credit', () => {
    const queue = new FairQueue<Item>()
    for (let i = 0; i < 20; i++) fill(queue, 'busy', 1, 1, 'busy')
    drain(queue, 10)
    for (let i = 0; i < 20; i++) fill(queue, 'late', 1, 1, 'late')
    const next = drain(queue, 10)
    expect(next.filter((name) => name === 'late').length).toBe(5)
  })

  test('a flow that emptied still pays for what it took', () => {
    const queue = new FairQueue<Item>()
    fill(queue, 'a', 1, 10, 'a')
    for (let i = 0; i < 20; i++) fill(queue, 'b', 1, 1, 'b')
    expect(drain(queue, 1)).toEqual(['a'])
    fill(queue, 'a', 1, 10, 'a')
    expect(drain(queue, 10)).toEqual(Array(10).fill('b'))
  })

  test('who comes back stands where it would had it never left, and its flow no longer pays for it', () => {
    const queue = new FairQueue<Item>()
    const [a1, a2] = fill(queue, 'a', 1, 1, 'a1', 'a2', 'a3')
    fill(queue, 'b', 1, 1, 'b1', 'b2', 'b3')
    expect(drain(queue, 4)).toEqual(['a1', 'b1', 'a2', 'b2'])
    queue.add('a', 1, 1, a1!)
    fill(queue, 'a', 1, 1, 'a4')
    queue.add('a', 1, 1, a2!)
    expect(drain(queue)).toEqual(['a1', 'a2', 'a3', 'b3', 'a4'])
  })

  test('peek shows fair order, bounded by flow, and changes nothing', () => {
    const queue = new FairQueue<Item>()
    fill(queue, 'a', 1, 1, 'a1', 'a2', 'a3')
    fill(queue, 'b', 1, 1, 'b1', 'b2')
    expect(queue.peek(4, () => 2).map(({ name }) => name)).toEqual(['a1', 'b1', 'a2', 'b2'])
    expect(queue.peek(9, (key) => (key === 'a' ? 0 : 9)).map(({ name }) => name)).toEqual(['b1', 'b2'])
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
        const queue = new FairQueue<Item>()
        const waiting: Item[] = []
        const left: Item[] = []
        for (const now of steps) {
          if ('add' in now) {
            waiting.push(...fill(queue, now.add, now.add === 'a' ? 3 : 1, now.cost, `${waiting.length + left.length}`))
          } else if ('remove' in now) {
            const [item] = waiting.splice(now.remove, 1)
            if (item) expect(queue.remove(item)).toBe(true)
            if (item) left.push(item)
            if (left[0]) expect(queue.remove(left[0])).toBe(false)
          } else {
            const [foretold] = queue.peek(1, () => 1)
            const item = queue.shift()
            expect(item).toBe(foretold)
            if (item) left.push(...waiting.splice(waiting.indexOf(item), 1))
          }
          expect(queue.size).toBe(waiting.length)
        }
        expect(new Set(drain(queue))).toEqual(new Set(waiting.map(({ name }) => name)))
      }),
    )
  })

  test('a line keeps its order, whoever joins it, leaves it from anywhere or comes back, however long it grows', () => {
    const step = fc.oneof(
      fc.record({ join: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ leave: fc.nat(200), count: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ serve: fc.integer({ min: 1, max: 60 }) }),
      fc.record({ comeBack: fc.nat(200) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new FairQueue<Item>()
        const waiting: Item[] = []
        const served: Item[] = []
        for (const now of steps) {
          if ('join' in now) waiting.push(...fill(queue, 'a', 1, 1, ...Array<string>(now.join).fill('')))
          else if ('leave' in now) for (const item of waiting.splice(now.leave, now.count)) queue.remove(item)
          else if ('serve' in now) {
            const first = waiting.splice(0, now.serve)
            expect(first.map(() => queue.shift())).toEqual(first)
            served.push(...first)
          } else {
            const [item] = served.splice(now.comeBack, 1)
            if (!item) continue
            queue.add('a', 1, 1, item)
            const after = waiting.findIndex(({ order }) => order > item.order)
            waiting.splice(after < 0 ? waiting.length : after, 0, item)
          }
          expect([...queue].map(({ order }) => order)).toEqual(waiting.map(({ order }) => order))
          expect(queue.size).toBe(waiting.length)
        }
      }),
    )
  })

  test('what left holds nothing of its line, and its line nothing of it', () => {
    const queue = new FairQueue<Item>()
    const left = fill(queue, 'a', 1, 1, 'served', 'removed')
    const [last] = fill(queue, 'a', 1, 1, 'last')
    queue.shift()
    queue.remove(left[1]!)
    expect(left.map(({ line }) => line)).toEqual([undefined, undefined])
    expect(last!.line!.places.filter((item) => item)).toEqual([last])
  })
})
