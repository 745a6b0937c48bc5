import { FreshMap } from '../registry.js'
import { AGEING_MS, type FlowStatement, MAX_CLASS_WEIGHT, MAX_LAG_US } from './store.js'

/** What one process waits for in one flow, as last stated and since granted from. */
export interface FlowNode {
  readonly id: string
  readonly processId: string
  key: string
  /** Ids of the limits drawn on. */
  draws: readonly string[]
  classWeight: number
  base: number
  perToken: number
  count: number
  load: number
  sinceMs: number
  costs: number[]
  tag: number
}

export interface TenantNode {
  readonly name: string
  weight: number
  tag: number
  /** Largest start tag among its flows that was served. */
  virtual: number
  /** Flows with waiters. */
  waiting: number
  /** With waiters, and without as long as their tags are ahead. */
  readonly flows: FreshMap<string, FlowNode>
}

interface Front {
  readonly tenant: string
  readonly flow: string
  readonly sinceMs: number
  /** When somebody was last told to ask for it. */
  askAtMs: number
}

export interface PoolNode {
  readonly name: string
  tag: number
  virtual: number
  load: number
  /** Flows with waiters. */
  waiting: number
  /** The flow whose first request was promised a date: it goes before all others until it is served. */
  front: Front | undefined
  /** Tenants with waiters. */
  readonly tenants: FreshMap<string, TenantNode>
  /** Tags of tenants without waiters, as long as they are ahead of virtual time. */
  readonly idle: FreshMap<string, number>
}

/** Service that a request of `tokens` costs its flow, µs. */
export function serviceOf(flow: Pick<FlowNode, 'base' | 'perToken'>, tokens: number): number {
  return Math.max(flow.base, Math.ceil((tokens * flow.perToken) / 1000))
}

/**
 * A class weighs twice as much after each `AGEING_MS` that its first request waited, up to the highest of its tenant's that
 * anybody waits in: among equals a longer queue gets no more than a shorter one.
 */
function agedWeight({ flows }: TenantNode, { classWeight, sinceMs }: FlowNode, nowMs: number): number {
  const doublings = Math.min(4, Math.max(0, Math.floor((nowMs - sinceMs) / AGEING_MS)))
  if (doublings === 0) return Math.min(MAX_CLASS_WEIGHT, classWeight)
  let highest = classWeight
  for (const flow of flows.values()) if (flow.count > 0) highest = Math.max(highest, flow.classWeight)
  return Math.min(MAX_CLASS_WEIGHT, highest, classWeight * 2 ** doublings)
}

/** How many of a flow's waiters have a cost that is known: where no limit counts tokens, all. */
export function shownOf({ count, perToken, costs }: FlowNode): number {
  return perToken === 0 ? count : Math.min(count, costs.length)
}

/**
 * Who goes next: start-time fair queueing (Goyal, Vin & Chen 1996), three levels deep: pools that share a limit, tenants of a
 * pool by weight, flows of a tenant (process and priority class) by the class's weight. Each level serves the smallest
 * start tag; what is served moves the tags above it by service/weight. Who was idle starts behind the level's virtual
 * time: no credit. Tags are µs of service, whole numbers. A tenant or pool in which nobody waits forgets those below it.
 */
export class FairTree {
  readonly pools = new FreshMap<string, PoolNode>()
  #virtual = 0

  /** Takes a statement of a process in, in place of its former one. `granted` waiters have mail and are not in it any more. */
  state(processId: string, poolName: string, draws: readonly string[], its: FlowStatement, granted: number): void {
    const { key, tenant: tenantName, tenantWeight, classWeight, base, perToken, sinceMs } = its
    const count = Math.max(0, its.count - granted)
    const id = `${processId}|${key}`
    if (count === 0) {
      const pool = this.pools.get(poolName)
      const tenant = pool?.tenants.get(tenantName)
      const flow = tenant?.flows.get(id)
      if (pool && tenant && flow && flow.count > 0) this.#empty(pool, tenant, flow)
      return
    }
    const pool = this.pools.get(poolName) ?? this.#newPool(poolName)
    const tenant = pool.tenants.get(tenantName) ?? this.#newTenant(pool, tenantName)
    tenant.weight = tenantWeight
    const flow = tenant.flows.get(id) ?? newFlow(tenant, id, processId)
    if (flow.count === 0) {
      flow.tag = Math.max(flow.tag, tenant.virtual + 1)
      tenant.waiting++
      pool.waiting++
    }
    let load = its.load
    for (const tokens of its.costs.slice(0, granted)) load -= serviceOf(its, tokens)
    load = Math.max(0, load)
    pool.load += load - flow.load
    const costs = its.costs.slice(granted)
    Object.assign(flow, { key, draws, classWeight, base, perToken, sinceMs, count, costs, load })
  }

  /** Forgets all that a process waits for. */
  drop(processId: string): void {
    for (const pool of [...this.pools.values()]) {
      for (const tenant of [...pool.tenants.values()]) {
        for (const flow of [...tenant.flows.values()]) {
          if (flow.processId === processId && flow.count > 0) this.#empty(pool, tenant, flow)
        }
      }
    }
  }

  /** Takes the first request of a flow out: it was granted. */
  serve(pool: PoolNode, tenant: TenantNode, flow: FlowNode, nowMs: number): void {
    const service = serviceOf(flow, flow.costs.shift() ?? 0)
    if (pool.front?.flow === flow.id) pool.front = undefined
    this.#virtual = Math.max(this.#virtual, pool.tag)
    pool.tag = Math.max(pool.tag, this.#virtual - MAX_LAG_US) + service
    pool.virtual = Math.max(pool.virtual, tenant.tag)
    tenant.tag = Math.max(tenant.tag, pool.virtual - MAX_LAG_US) + Math.ceil(service / tenant.weight)
    tenant.virtual = Math.max(tenant.virtual, flow.tag)
    const weight = agedWeight(tenant, flow, nowMs)
    flow.tag = Math.max(flow.tag, tenant.virtual - MAX_LAG_US) + Math.ceil(service / weight)
    flow.count--
    const load = Math.min(flow.load, service)
    flow.load -= load
    pool.load -= load
    if (flow.count === 0) this.#empty(pool, tenant, flow)
  }

  /** Takes the first request of a flow out unserved. */
  refuse(pool: PoolNode, tenant: TenantNode, flow: FlowNode): void {
    if (pool.front?.flow === flow.id) pool.front = undefined
    const load = Math.min(flow.load, serviceOf(flow, flow.costs.shift() ?? 0))
    flow.count--
    flow.load -= load
    pool.load -= load
    if (flow.count === 0) this.#empty(pool, tenant, flow)
  }

  /** Corrects the service that a flow was charged, as far as anybody waits in its pool. */
  correct(processId: string, poolName: string, tenantName: string, key: string, delta: number): void {
    const pool = this.pools.get(poolName)
    if (!pool) return
    pool.tag = Math.max(0, pool.tag + delta)
    const tenant = pool.tenants.get(tenantName)
    if (!tenant) {
      // A tag that virtual time has passed is as good as none, whether or not it was forgotten yet.
      const tag = Math.max(pool.idle.get(tenantName) ?? 0, pool.virtual) + delta
      if (tag > pool.virtual) pool.idle.set(tenantName, tag)
      else pool.idle.delete(tenantName)
      return
    }
    tenant.tag = Math.max(0, tenant.tag + Math.ceil(delta / tenant.weight))
    const flow = tenant.flows.get(`${processId}|${key}`)
    const isKept = flow && (flow.count > 0 || flow.tag > tenant.virtual)
    if (isKept) flow.tag = Math.max(0, flow.tag + Math.ceil(delta / flow.classWeight))
  }

  clear(): void {
    this.pools.clear()
    this.#virtual = 0
  }

  #newPool(name: string): PoolNode {
    const pool: PoolNode = {
      name,
      tag: this.#virtual + 1,
      virtual: 0,
      load: 0,
      waiting: 0,
      front: undefined,
      tenants: new FreshMap(),
      idle: new FreshMap(),
    }
    this.pools.set(name, pool)
    return pool
  }

  #newTenant(pool: PoolNode, name: string): TenantNode {
    const tag = Math.max(pool.idle.get(name) ?? 0, pool.virtual + 1)
    pool.idle.delete(name)
    const tenant: TenantNode = { name, weight: 1, tag, virtual: 0, waiting: 0, flows: new FreshMap() }
    pool.tenants.set(name, tenant)
    return tenant
  }

  #empty(pool: PoolNode, tenant: TenantNode, flow: FlowNode): void {
    if (pool.front?.flow === flow.id) pool.front = undefined
    pool.load -= flow.load
    flow.count = 0
    flow.load = 0
    flow.costs = []
    tenant.waiting--
    pool.waiting--
    if (tenant.waiting > 0) {
      // A finish tag is kept until virtual time has passed it.
      for (const { id, count, tag } of [...tenant.flows.values()]) {
        if (count === 0 && tag <= tenant.virtual) tenant.flows.delete(id)
      }
      return
    }
    pool.tenants.delete(tenant.name)
    pool.idle.set(tenant.name, tenant.tag)
    for (const [name, tag] of pool.idle) if (tag <= pool.virtual) pool.idle.delete(name)
    if (pool.waiting > 0) return
    this.pools.delete(pool.name)
    if (this.pools.size === 0) this.#virtual = 0
  }
}

function newFlow(tenant: TenantNode, id: string, processId: string): FlowNode {
  const flow: FlowNode = {
    id,
    processId,
    key: '',
    draws: [],
    classWeight: 1,
    base: 0,
    perToken: 0,
    count: 0,
    load: 0,
    sinceMs: 0,
    costs: [],
    tag: 0,
  }
  tenant.flows.set(id, flow)
  return flow
}
