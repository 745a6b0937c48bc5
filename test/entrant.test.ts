import { describe, expect, test } from 'vitest'
import { resolveConfig } from '../src/config.js'
import { Entrants } from '../src/entrant.js'
import type { GatePool } from '../src/gate-pool.js'
import { planGroups } from '../src/limits/plan.js'
import { newRequestId } from '../src/request-id.js'

const LIMITS = { requests: { limit: 50, per: '1m' } } as const

/** Of a pool no more than an entrant looks at. */
function rig(): { entrants: Entrants; pool: GatePool } {
  const pools = { p: { provider: 'glm', apiKey: 'secret', adaptive: false, limits: LIMITS } }
  const config = resolveConfig({ pools, tenants: { web: { weight: 4, limits: LIMITS } } })
  const runtime = { config: config.pools.get('p'), plan: planGroups(config)[0]!.pools[0] }
  const weightOf = (tenant: string) => config.tenants.get(tenant)?.weight ?? 1
  return { entrants: new Entrants(weightOf, { high: 4, normal: 2, low: 1 }), pool: { runtime } as unknown as GatePool }
}

describe('what requests have in common', () => {
  test('is one object for each pool, tenant and priority', () => {
    const { entrants, pool } = rig()
    const entrant = entrants.of(pool, 'web', 'high')
    expect(entrants.of(pool, 'web', 'high')).toBe(entrant)
    expect(entrant).toMatchObject({ flowKey: 'p|web|high', tenantWeight: 4, classWeight: 4, weight: 16, draws: [0, 1] })
    expect(entrant.asked(7)).toEqual({ pool: 0, flowKey: 'p|web|high', draws: [0, 1], tokens: 7 })
    expect(entrants.of(pool, 'web', 'low')).toMatchObject({ flowKey: 'p|web|low', weight: 4 })
    expect(entrants.of(pool, 'other', 'high')).toMatchObject({ flowKey: 'p|other|high', weight: 4, draws: [0] })
    expect(entrants.of(rig().pool, 'web', 'high')).not.toBe(entrant)
  })

  test('of tenants without end the oldest are forgotten, and are the same when they come again', () => {
    const { entrants, pool } = rig()
    const first = entrants.of(pool, 'tenant 0', 'normal')
    for (let i = 1; i < 5_000; i++) entrants.of(pool, `tenant ${i}`, 'normal')
    const last = entrants.of(pool, 'tenant 4999', 'normal')
    expect(entrants.of(pool, 'tenant 4999', 'normal')).toBe(last)
    const again = entrants.of(pool, 'tenant 0', 'normal')
    expect(again).not.toBe(first)
    expect(again).toEqual(first)
  })
})

test('request ids are random UUIDs, and no two are alike', () => {
  const ids = Array.from({ length: 1_000 }, newRequestId)
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(new Set(ids).size).toBe(ids.length)
})
