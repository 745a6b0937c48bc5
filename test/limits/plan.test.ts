import { describe, expect, it } from 'vitest'
import { resolveConfig } from '../../src/config.js'
import { SLACK_MS } from '../../src/durations.js'
import { type GroupPlan, planGroups, serviceRates } from '../../src/limits/plan.js'

const plan = (options: object) => planGroups(resolveConfig(options))
const glm = (rest: object = {}) => ({ provider: 'glm', adaptive: false, ...rest })
const poolNames = (groups: readonly GroupPlan[]) => groups.map(({ spec }) => [spec.group, ...spec.pools])

/** What a request takes, by the ids of the limits. */
function charged(group: GroupPlan, pool: string, tokens: number, tenant = 'default'): Record<string, number> {
  const drawn = group.pools.find(({ name }) => name === pool)!.draws(tenant)
  return Object.fromEntries(
    drawn.map((index) => {
      const { id, dimension } = group.spec.limits[index]!
      return [id, dimension === 'tokens' ? tokens : 1]
    }),
  )
}

describe('groups', () => {
  const set = { requests: '9/1m' }

  it.each<[string, object, string[][]]>([
    ['no pool', { pools: {} }, []],
    [
      'pools that share nothing',
      { pools: { b: glm(), a: glm() } },
      [
        ['pool:b', 'b'],
        ['pool:a', 'a'],
      ],
    ],
    [
      'pools that share a set',
      {
        pools: { a: glm({ limits: { also: ['s'] } }), x: glm(), b: glm({ limits: { also: ['s'] } }) },
        limitSets: { s: set, unused: set },
      },
      [
        ['set:s', 'a', 'b'],
        ['pool:x', 'x'],
      ],
    ],
    [
      'a chain of sets, named after the alphabetically first',
      {
        pools: {
          a: glm({ limits: { also: ['z'] } }),
          b: glm({ limits: { also: ['m'] } }),
          c: glm({ limits: { also: ['m', 'z'] } }),
          d: glm({ limits: { also: ['B'] } }),
        },
        limitSets: { z: set, m: set, B: set },
      },
      [
        ['set:m', 'a', 'b', 'c'],
        ['set:B', 'd'],
      ],
    ],
    [
      'a tenant with limits, on whom every pool draws',
      { pools: { a: glm(), b: glm() }, tenants: { t: { limits: set }, u: {} } },
      [['tenants', 'a', 'b']],
    ],
    [
      'tenants without limits',
      { pools: { a: glm(), b: glm() }, tenants: { t: { weight: 2 } } },
      [
        ['pool:a', 'a'],
        ['pool:b', 'b'],
      ],
    ],
  ])('%s', (_, options, expected) => {
    expect(poolNames(plan(options))).toEqual(expected)
  })
})

describe('limits', () => {
  it('are held for the longest that any pool which draws on them may take', () => {
    const pool = (slackMs: number, guardMs: number) =>
      glm({ limits: { requests: '5/1s', also: ['set'] }, slackMs, guardMs })
    const [group] = plan({ pools: { a: pool(20, 300), b: pool(400, 100) }, limitSets: { set: { requests: '9/1s' } } })
    const holds = group!.spec.limits.map(({ id, holdMs }) => [id, holdMs])
    expect(holds).toEqual([
      ['pool:a:requests:1000', 320],
      ['pool:b:requests:1000', 500],
      ['set:set:requests:1000', 500],
    ])
  })

  it('gives each dimension of a pool an id, a window and the hold of slack plus guard', () => {
    const limits = { requests: ['50/1m', '5/1s'], tokens: '1000/1d', concurrency: 5 }
    const [group] = plan({ namespace: 'ns', pools: { p: { provider: 'glm', limits, guardMs: 100 } } })
    const holdMs = SLACK_MS + 100
    expect(group!.spec).toEqual({
      namespace: 'ns',
      group: 'pool:p',
      pools: ['p'],
      limits: [
        { id: 'pool:p:requests:60000', dimension: 'requests', limit: 50, windowMs: 60_000, holdMs, adaptive: true },
        { id: 'pool:p:requests:1000', dimension: 'requests', limit: 5, windowMs: 1000, holdMs, adaptive: true },
        {
          id: 'pool:p:tokens:86400000',
          dimension: 'tokens',
          limit: 1000,
          windowMs: 86_400_000,
          holdMs,
          adaptive: true,
        },
        { id: 'pool:p:concurrency', dimension: 'concurrency', limit: 5, windowMs: 0, holdMs, adaptive: true },
      ],
      draws: [[0, 1, 2, 3]],
    })
    expect(group!.pools[0]).toMatchObject({
      name: 'p',
      index: 0,
      ownConcurrency: 3,
      own: { requests: [0, 1], tokens: [2], concurrency: [3] },
    })
  })

  it('gives an adaptive pool slots to learn a ceiling from', () => {
    const [adaptive, plain, fixed] = plan({
      pools: { a: { provider: 'glm' }, b: glm(), c: glm({ limits: { concurrency: 2 } }) },
    })
    expect(adaptive!.spec.limits).toEqual([
      { id: 'pool:a:concurrency', dimension: 'concurrency', limit: 4096, windowMs: 0, holdMs: 200, adaptive: true },
    ])
    expect(adaptive!.pools[0]!.ownConcurrency).toBe(0)
    expect(plain!.spec.limits).toEqual([])
    expect(plain!.pools[0]!.ownConcurrency).toBeUndefined()
    expect(fixed!.spec.limits).toMatchObject([{ limit: 2, adaptive: false }])
  })

  it('holds a shared limit for the largest guard of the pools that draw on it, and never adapts it', () => {
    const [group] = plan({
      pools: {
        a: { provider: 'glm', guardMs: 10, limits: { concurrency: 3, also: ['s'] } },
        b: { provider: 'glm', guardMs: 20, limits: { concurrency: 3, also: ['s', 'r'] } },
        c: { provider: 'glm', guardMs: 30, limits: { concurrency: 3, also: ['r'] } },
        d: { provider: 'glm', guardMs: 40, limits: { concurrency: 3 } },
      },
      limitSets: { s: { concurrency: 5 }, r: { requests: '9/1m' } },
      tenants: { t: { limits: { tokens: '9/1m' } } },
    })
    expect(group!.spec.limits.map(({ id, holdMs, adaptive }) => [id, holdMs, adaptive])).toEqual([
      ['pool:a:concurrency', 60, true],
      ['pool:b:concurrency', 70, true],
      ['pool:c:concurrency', 80, true],
      ['pool:d:concurrency', 90, true],
      ['set:r:requests:60000', 80, false],
      ['set:s:concurrency', 70, false],
      ['tenant:t:tokens:60000', 90, false],
    ])
    expect(group!.pools.map(({ index, ownConcurrency }) => [index, ownConcurrency])).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
      [3, 3],
    ])
  })
})

describe('costs', () => {
  const [group] = plan({
    pools: {
      a: glm({ limits: { requests: '50/1m', tokens: ['1000/1m', '5000/1d'], concurrency: 5, also: ['s'] } }),
      b: glm({ limits: { requests: '7/1m' } }),
    },
    limitSets: { s: { requests: '200/1m', tokens: '900/1m' } },
    tenants: { web: { limits: { tokens: '800/1d', concurrency: 2 } }, batch: { weight: 1 } },
  })

  it('charges the pool, its sets and the tenant', () => {
    const ofPool = {
      'pool:a:requests:60000': 1,
      'pool:a:tokens:60000': 70,
      'pool:a:tokens:86400000': 70,
      'pool:a:concurrency': 1,
      'set:s:requests:60000': 1,
      'set:s:tokens:60000': 70,
    }
    expect(charged(group!, 'a', 70)).toEqual(ofPool)
    expect(charged(group!, 'a', 70, 'batch')).toEqual(ofPool)
    expect(charged(group!, 'a', 70, 'web')).toEqual({
      ...ofPool,
      'tenant:web:tokens:86400000': 70,
      'tenant:web:concurrency': 1,
    })
    expect(charged(group!, 'b', 70)).toEqual({ 'pool:b:requests:60000': 1 })
    expect(charged(group!, 'b', 70, 'web')).toEqual({
      'pool:b:requests:60000': 1,
      'tenant:web:tokens:86400000': 70,
      'tenant:web:concurrency': 1,
    })
  })

  it('charges a request of unknown size too, so that its overrun has a bucket', () => {
    expect(charged(group!, 'a', 0)).toMatchObject({ 'pool:a:tokens:60000': 0 })
  })

  it.each<[string, string, number, object | undefined]>([
    ['a', 'default', 900, undefined],
    ['a', 'default', 901, { id: 'set:s:tokens:60000', max: 900, cost: 901 }],
    ['a', 'default', 1001, { id: 'pool:a:tokens:60000', max: 1000, cost: 1001 }],
    ['a', 'web', 801, { id: 'tenant:web:tokens:86400000', max: 800, cost: 801 }],
    ['b', 'default', 1e9, undefined],
    ['b', 'web', 801, { id: 'tenant:web:tokens:86400000', max: 800, cost: 801 }],
  ])('%s for %s with %d LLM tokens', (pool, tenant, tokens, expected) => {
    expect(group!.pools.find(({ name }) => name === pool)!.tooLarge({ tokens }, tenant)).toEqual(expected)
  })
})

describe('service', () => {
  const limit = (dimension: 'requests' | 'tokens' | 'concurrency', limit: number, windowMs: number) => ({
    ...{ id: dimension, dimension, limit, windowMs, holdMs: 0, adaptive: false },
  })

  it('of a request is its share of the limit it takes most of, in µs of the whole', () => {
    const limits = [limit('requests', 50, 60_000), limit('concurrency', 5, 0), limit('tokens', 1_000, 60_000)]
    expect(serviceRates(limits, [0], 10_000)).toEqual({ base: 1_200_000, perToken: 0 })
    expect(serviceRates(limits, [0, 1], 10_000)).toEqual({ base: 2_000_000, perToken: 0 })
    expect(serviceRates(limits, [0, 1, 2], 100)).toEqual({ base: 1_200_000, perToken: 60_000_000 })
    expect(serviceRates(limits, [], 100)).toEqual({ base: 1, perToken: 0 })
  })
})
