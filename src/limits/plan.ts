import type { DimensionLimits, PoolConfig, ResolvedConfig } from '../config.js'
import { SLACK_MS } from '../durations.js'
import type { Charge, GroupSpec, LimitSpec } from './store.js'

/**
 * Slots of a pool that is to learn its ceiling but has no concurrency limit of its own. It has to have a slot count to
 * learn a ceiling from; the first refusal halves what is in flight by then, so the number only has to be large.
 */
const IMPLICIT_CONCURRENCY = 4096

export type Dimension = 'requests' | 'tokens' | 'concurrency'

/** What a request takes, besides being one request and one slot. */
export interface Cost {
  readonly tokens: number
}

/** A cost that no waiting can make fit. */
export interface TooLarge {
  readonly id: string
  readonly max: number
  readonly cost: number
}

export interface PoolPlan {
  readonly name: string
  /** Index into the group's pools. */
  readonly index: number
  /** What each of the group's limits counts. */
  readonly dims: readonly Dimension[]
  /** Index of the pool's own concurrency limit. */
  readonly ownConcurrency: number | undefined
  /** What a request of this tenant takes of the group's limits: the pool's, those of its sets, the tenant's. */
  charge(cost: Cost, tenant: string): Charge[]
  tooLarge(cost: Cost, tenant: string): TooLarge | undefined
}

/** Pools that share any limit, with all limits they draw on: what one dispatcher and one store key tag serve. */
export interface GroupPlan {
  readonly spec: GroupSpec
  readonly pools: readonly PoolPlan[]
}

/** Divides the pools into groups. Depends on nothing but the config, so that all processes of a fleet agree. */
export function planGroups(config: ResolvedConfig): GroupPlan[] {
  const tenanted = [...config.tenants.values()].some(({ limits }) => limits !== undefined)
  return groupsOf([...config.pools.values()], tenanted).map((pools) => {
    const sets = [...new Set(pools.flatMap(({ limits }) => limits.also))].sort()
    const ofItsOwn = sets[0] === undefined ? `pool:${pools[0]!.name}` : `set:${sets[0]}`
    return planGroup(config, tenanted ? 'tenants' : ofItsOwn, pools, sets)
  })
}

/** Union-find over pools. With a limited tenant there is one group: its limits bind whichever pool it calls. */
function groupsOf(pools: readonly PoolConfig[], tenanted: boolean): PoolConfig[][] {
  const parents = pools.map((_, index) => index)
  const find = (index: number): number => {
    let root = index
    while (parents[root] !== root) root = parents[root]!
    return root
  }
  const firstOfSet = new Map<string, number>()
  pools.forEach(({ limits }, index) => {
    for (const set of tenanted ? [''] : limits.also) {
      const first = firstOfSet.get(set)
      if (first === undefined) firstOfSet.set(set, index)
      else parents[find(index)] = find(first)
    }
  })
  const groups = new Map<number, PoolConfig[]>()
  pools.forEach((pool, index) => {
    const root = find(index)
    groups.set(root, [...(groups.get(root) ?? []), pool])
  })
  return [...groups.values()]
}

function planGroup(config: ResolvedConfig, group: string, pools: readonly PoolConfig[], sets: readonly string[]) {
  const limits: LimitSpec[] = []
  const dims: Dimension[] = []
  /** Notes the limits of one owner and returns their indices. */
  const note = (owner: string, its: DimensionLimits, drawnOnBy: readonly PoolConfig[], adaptive = false): number[] => {
    const holdMs = SLACK_MS + Math.max(...drawnOnBy.map(({ guardMs }) => guardMs))
    const start = limits.length
    for (const dimension of ['requests', 'tokens'] as const) {
      for (const { limit, windowMs } of its[dimension]) {
        dims.push(dimension)
        limits.push({ id: `${owner}:${dimension}:${windowMs}`, limit, windowMs, holdMs, adaptive: false })
      }
    }
    const concurrency = its.concurrency ?? (adaptive ? IMPLICIT_CONCURRENCY : undefined)
    if (concurrency !== undefined) {
      dims.push('concurrency')
      limits.push({ id: `${owner}:concurrency`, limit: concurrency, windowMs: 0, holdMs, adaptive })
    }
    return limits.slice(start).map((_, offset) => start + offset)
  }
  const ofPool = pools.map((pool) => note(`pool:${pool.name}`, pool.limits, [pool], pool.adaptive))
  const ofSet = new Map<string, readonly number[]>()
  for (const set of sets) {
    const drawers = pools.filter(({ limits }) => limits.also.includes(set))
    ofSet.set(set, note(`set:${set}`, config.limitSets.get(set)!, drawers))
  }
  const ofTenant = new Map<string, readonly number[]>()
  for (const [tenant, its] of config.tenants) {
    if (its.limits) ofTenant.set(tenant, note(`tenant:${tenant}`, its.limits, pools))
  }
  const plans = pools.map((pool, index) => {
    const own = ofPool[index]!
    const shared = pool.limits.also.flatMap((set) => ofSet.get(set)!)
    return planPool(pool.name, index, own, [...own, ...shared], ofTenant, limits, dims)
  })
  const spec = { namespace: config.namespace, group, pools: pools.map(({ name }) => name), limits }
  return { spec, pools: plans }
}

function planPool(
  name: string,
  index: number,
  own: readonly number[],
  everyones: readonly number[],
  ofTenant: ReadonlyMap<string, readonly number[]>,
  limits: readonly LimitSpec[],
  dims: readonly Dimension[],
): PoolPlan {
  // Worked out once, because `charge` runs for every request.
  const byTenant = new Map([...ofTenant].map(([tenant, its]) => [tenant, [...everyones, ...its]] as const))
  const drawsOn = (tenant: string) => byTenant.get(tenant) ?? everyones
  const costOf = (limit: number, cost: Cost) => (dims[limit] === 'tokens' ? cost.tokens : 1)
  return {
    name,
    index,
    dims,
    ownConcurrency: own.find((limit) => dims[limit] === 'concurrency'),
    charge: (cost, tenant) => drawsOn(tenant).map((limit): Charge => [limit, costOf(limit, cost)]),
    tooLarge(cost, tenant) {
      for (const limit of drawsOn(tenant)) {
        const { id, limit: max } = limits[limit]!
        if (costOf(limit, cost) > max) return { id, max, cost: costOf(limit, cost) }
      }
      return undefined
    },
  }
}

/** What a request pays in fair queueing: its largest cost in proportion to its limit; above 0. */
export function shareOf(limits: readonly LimitSpec[], charges: readonly Charge[]): number {
  let share = Number.MIN_VALUE
  for (const [index, cost] of charges) share = Math.max(share, cost / (limits[index]?.limit ?? 1))
  return share
}
