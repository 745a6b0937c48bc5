import type { DimensionLimits, PoolConfig, ResolvedConfig } from '../config.js'
import type { Dimension, GroupSpec, LimitSpec } from './store.js'

/**
 * Slots of a pool that is to learn its ceiling but has no concurrency limit of its own. It has to have a slot count to
 * learn a ceiling from; the first refusal halves what is in flight by then, so the number only has to be large.
 */
const IMPLICIT_CONCURRENCY = 4096

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
  /** Index of the pool's own concurrency limit. */
  readonly ownConcurrency: number | undefined
  /** The pool's own limits of a dimension. */
  readonly own: Readonly<Record<Dimension, readonly number[]>>
  /** Indexes of the limits that a tenant's request draws on: the pool's, those of its sets, the tenant's. */
  draws(tenant: string): readonly number[]
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
  /** Notes the limits of one owner and returns their indices. */
  const note = (owner: string, its: DimensionLimits, drawnOnBy: readonly PoolConfig[], adaptive = false): number[] => {
    const holdMs = Math.max(...drawnOnBy.map(({ slackMs, guardMs }) => slackMs + guardMs))
    const start = limits.length
    for (const dimension of ['requests', 'tokens'] as const) {
      for (const { limit, windowMs } of its[dimension]) {
        limits.push({ id: `${owner}:${dimension}:${windowMs}`, dimension, limit, windowMs, holdMs, adaptive })
      }
    }
    const concurrency = its.concurrency ?? (adaptive ? IMPLICIT_CONCURRENCY : undefined)
    if (concurrency !== undefined) {
      const id = `${owner}:concurrency`
      limits.push({ id, dimension: 'concurrency', limit: concurrency, windowMs: 0, holdMs, adaptive })
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
  const draws = pools.map((pool, index) => [...ofPool[index]!, ...pool.limits.also.flatMap((set) => ofSet.get(set)!)])
  const plans = pools.map((pool, index) => planPool(pool.name, index, ofPool[index]!, draws[index]!, ofTenant, limits))
  const spec: GroupSpec = { namespace: config.namespace, group, pools: pools.map(({ name }) => name), limits, draws }
  return { spec, pools: plans }
}

function planPool(
  name: string,
  index: number,
  own: readonly number[],
  everyones: readonly number[],
  ofTenant: ReadonlyMap<string, readonly number[]>,
  limits: readonly LimitSpec[],
): PoolPlan {
  // Worked out once, because every request asks.
  const byTenant = new Map([...ofTenant].map(([tenant, its]) => [tenant, [...everyones, ...its]] as const))
  const draws = (tenant: string) => byTenant.get(tenant) ?? everyones
  const ownOf = (dimension: Dimension) => own.filter((limit) => limits[limit]!.dimension === dimension)
  const concurrency = ownOf('concurrency')
  return {
    name,
    index,
    ownConcurrency: concurrency[0],
    own: { requests: ownOf('requests'), tokens: ownOf('tokens'), concurrency },
    draws,
    tooLarge(cost, tenant) {
      for (const limit of draws(tenant)) {
        const { id, limit: max, dimension } = limits[limit]!
        const taken = dimension === 'tokens' ? cost.tokens : 1
        if (taken > max) return { id, max, cost: taken }
      }
      return undefined
    },
  }
}

/**
 * Service that a request of a pool takes, as µs of the whole capacity of the limit it takes most of: at least `base`, and
 * `perToken` ns for each LLM token. A slot is taken for `slotMs`, an estimate to be corrected once the call is over.
 */
export function serviceRates(
  limits: readonly LimitSpec[],
  draws: readonly number[],
  slotMs: number,
): { readonly base: number; readonly perToken: number } {
  let base = 1
  let perToken = 0
  for (const index of draws) {
    const { dimension, limit, windowMs } = limits[index]!
    if (dimension === 'tokens') perToken = Math.max(perToken, Math.ceil((windowMs * 1e6) / limit))
    else base = Math.max(base, Math.ceil(((dimension === 'requests' ? windowMs : slotMs) * 1000) / limit))
  }
  return { base, perToken }
}
