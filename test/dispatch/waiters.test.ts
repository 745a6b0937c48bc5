import { describe, expect, test } from 'vitest'
import type { TokenRequest } from '../../src/dispatch/grant.js'
import { isUnheard } from '../../src/dispatch/local-flow.js'
import { Waiters } from '../../src/dispatch/waiters.js'
import { MAX_COSTS } from '../../src/limits/store.js'
import { groupOf, MINUTE_MS, rate, slots } from './small-fleet.js'
import { UNPLACED } from './unplaced.js'

const SPEC = groupOf(rate('tokens', 1_000, MINUTE_MS, 'tokens'), slots('calls', 10))

function rig(spec = SPEC) {
  const waiters = new Waiters(spec)
  const add = (more: Partial<TokenRequest> = {}) => {
    const request: TokenRequest = {
      ...UNPLACED,
      pool: 0,
      flowKey: 'flow',
      tenant: 'tenant',
      tenantWeight: 1,
      classWeight: 1,
      draws: spec.draws[0]!,
      tokens: 1,
      sinceMs: 0,
      callTimeoutMs: 1_000,
      onGrant: () => {},
      onRefused: () => {},
      ...more,
    }
    waiters.add(request)
    return request
  }
  /** What the store hears now. */
  const state = () => waiters.statements((localMs) => localMs)
  return { waiters, add, state, flow: (key = 'flow') => waiters.flow(key)! }
}

describe('statements', () => {
  test('tell all that a flow waits for: how many, their costs in order, their service and since when', () => {
    const { waiters, add, state } = rig()
    add({ tokens: 100, sinceMs: 50 })
    add({ tokens: 1, sinceMs: 10 })
    expect(waiters.hasNews).toBe(true)
    const [statement, ...others] = state()
    expect(others).toEqual([])
    // 60 ms of a minute's 1,000 tokens each; a slot of 10 for an estimated second.
    expect(statement).toEqual({
      key: 'flow',
      pool: 0,
      tenant: 'tenant',
      tenantWeight: 1,
      classWeight: 1,
      draws: [0, 1],
      base: 100_000,
      perToken: 60_000_000,
      sinceMs: 50,
      count: 2,
      load: 6_000_000 + 100_000,
      costs: [100, 1],
    })
    expect(waiters.hasNews).toBe(false)
    expect(state()).toEqual([])
  })

  test('name at most 64 costs, of however many waiters', () => {
    const { add, state, flow } = rig()
    for (let i = 0; i < 100; i++) add({ tokens: i })
    const [statement] = state()
    expect(statement!.count).toBe(100)
    expect(statement!.costs).toEqual([...Array(MAX_COSTS).keys()])
    expect(flow().shown).toBe(MAX_COSTS)
  })

  test('leave the costs out where no limit counts tokens', () => {
    const { add, state, flow } = rig(groupOf(rate('requests', 10), slots('calls', 10)))
    for (let i = 0; i < 100; i++) add({ tokens: i })
    expect(state()).toMatchObject([{ count: 100, costs: [], perToken: 0 }])
    expect(flow().shown).toBe(100)
  })

  test('leave out those whose grants are on their way', () => {
    const { waiters, add, state, flow } = rig()
    for (const tokens of [100, 200, 300]) add({ tokens, sinceMs: tokens })
    flow().dated = 2
    expect(state()).toMatchObject([{ count: 1, costs: [300], sinceMs: 300, load: 18_000_000 }])
    waiters.touch(flow())
    flow().dated = 3
    expect(state()).toMatchObject([{ count: 0, costs: [], load: 0 }])
  })

  test('withdraw a flow once, with a count of nothing, and forget it', () => {
    const { waiters, add, state } = rig()
    const request = add()
    state()
    expect(waiters.remove(request)).toBe(true)
    expect(waiters.remove(request)).toBe(false)
    expect(waiters.size).toBe(0)
    expect(state()).toMatchObject([{ key: 'flow', count: 0 }])
    expect(waiters.flow('flow')).toBeUndefined()
    expect(state()).toEqual([])
  })

  test('128 flows a batch; the rest is news still', () => {
    const { waiters, add, state } = rig()
    for (let i = 0; i < 200; i++) add({ flowKey: `flow ${i}` })
    expect(state()).toHaveLength(128)
    expect(waiters.hasNews).toBe(true)
    expect(state()).toHaveLength(72)
    expect(waiters.hasNews).toBe(false)
  })

  test('are made again in full for a store that forgot them', () => {
    const { waiters, add, state } = rig()
    add({ flowKey: 'a' })
    add({ flowKey: 'b' })
    state()
    waiters.restate()
    expect(waiters.isUnheard).toBe(true)
    expect(state().map(({ key, count }) => [key, count])).toEqual([
      ['a', 1],
      ['b', 1],
    ])
  })
})

describe('covering', () => {
  test('a grant is for the first waiter of its flow that it covers in full', () => {
    const { waiters, add, flow } = rig()
    const [large, small] = [add({ tokens: 100 }), add({ tokens: 10 })]
    expect(waiters.covered(flow(), 100)).toBe(large)
    expect(waiters.covered(flow(), 99)).toBe(small)
    expect(waiters.covered(flow(), 9)).toBeUndefined()
    waiters.remove(large)
    expect(waiters.covered(flow(), 100)).toBe(small)
  })

  test('it looks 64 places down and no further', () => {
    const { waiters, add, flow } = rig()
    for (let i = 0; i < 64; i++) add({ tokens: 100 })
    add({ tokens: 1 })
    expect(waiters.covered(flow(), 50)).toBeUndefined()
  })

  test('where no limit counts tokens a grant covers whoever is first', () => {
    const { waiters, add, flow } = rig(groupOf(slots('calls', 10)))
    const request = add({ tokens: 1_000_000 })
    expect(waiters.covered(flow(), 0)).toBe(request)
  })
})

describe('a flow', () => {
  test('is unheard while it waits and the store knows of none of it', () => {
    const { add, state, flow } = rig()
    add()
    expect(isUnheard(flow())).toBe(true)
    state()
    expect(isUnheard(flow())).toBe(false)
    add()
    expect(isUnheard(flow())).toBe(false)
    flow().shown = 0
    flow().dated = 1
    expect(isUnheard(flow())).toBe(true)
    flow().dated = 2
    expect(isUnheard(flow())).toBe(false)
  })

  test('names all those that cost more than a limit as it now stands', () => {
    const { waiters, add } = rig()
    const [, large, , larger] = [1, 50, 2, 60].map((tokens) => add({ tokens }))
    expect(waiters.above('flow', 49, true)).toEqual([large, larger])
    expect(waiters.above('flow', 1, false)).toEqual([])
    expect(waiters.above('flow', 0, false)).toHaveLength(4)
    expect(waiters.above('nobody', 0, true)).toEqual([])
  })

  test('keeps the place of one who comes back', () => {
    const { waiters, add, flow } = rig()
    const [first, second] = [add(), add()]
    waiters.remove(first, true)
    expect(flow().first).toBe(second)
    add({ order: first.order })
    expect(flow().first!.order).toBe(first.order)
  })
})

describe('slots taken over', () => {
  const slotsOnly = groupOf(slots('calls', 10))

  test('only by flows that may, wait, and draw on the same slots alone', () => {
    const { waiters, add, flow } = rig(slotsOnly)
    add()
    expect(waiters.heir([0])).toBeUndefined()
    waiters.allowHandoffs([['flow', 1]])
    expect(waiters.heir([0])).toBe(flow())
    expect(waiters.heir([0, 1])).toBeUndefined()
    flow().dated = 1
    expect(waiters.heir([0])).toBeUndefined()
    const mixed = rig()
    mixed.add()
    mixed.waiters.allowHandoffs([['flow', 1]])
    expect(mixed.waiters.heir([0, 1])).toBeUndefined()
  })

  test('what one reply allowed the next takes the place of; a pool forbids its own', () => {
    const { waiters, add, flow } = rig(slotsOnly)
    add()
    add({ flowKey: 'other', pool: 1 })
    waiters.allowHandoffs([
      ['flow', 3],
      ['other', 2],
    ])
    waiters.allowHandoffs([['flow', 2]])
    expect([flow().handoffs, flow('other').handoffs]).toEqual([2, 0])
    waiters.allowHandoffs([
      ['flow', 3],
      ['other', 2],
    ])
    waiters.forbidHandoffs(1)
    expect([flow().handoffs, flow('other').handoffs]).toEqual([3, 0])
  })

  test('the time that calls hold their slots is learned, and what they took beyond the estimate is told', () => {
    const { waiters, add, state } = rig(slotsOnly)
    // 10 slots, estimated for 1 s and held for 3: 200 ms of the pool's whole capacity more.
    expect(waiters.learnSlot(0, [0], 3_000)).toBe(200_000)
    add()
    expect(state()).toMatchObject([{ base: 120_000 }])
  })
})
