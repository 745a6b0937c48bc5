import type { Asked } from './dispatch/outlook.js'
import type { GatePool } from './gate-pool.js'
import type { Priority } from './intake/input.js'

/** Tenants remembered for each pool; their names come from outside, so somebody might make them up. */
const MAX_TENANTS = 4_096

/** What all requests of one tenant and priority have in common in one pool: kept once, however many wait. */
export class Entrant {
  readonly flowKey: string
  /** Indexes of the limits they draw on. */
  readonly draws: readonly number[]
  /** At the gate and in the queue. */
  readonly weight: number

  constructor(
    readonly pool: GatePool,
    readonly tenant: string,
    readonly tenantWeight: number,
    readonly priority: Priority,
    readonly classWeight: number,
  ) {
    const { plan, config } = pool.runtime
    this.flowKey = `${config.name}|${tenant}|${priority}`
    this.draws = plan.draws(tenant)
    this.weight = tenantWeight * classWeight
  }

  /** What the wait of one of so many LLM tokens is asked for by. */
  asked(tokens: number): Asked {
    const { flowKey, draws } = this
    return { pool: this.pool.runtime.plan.index, flowKey, draws, tokens }
  }
}

/** The entrants of a gate, made when they first come; of too many tenants the oldest are forgotten. */
export class Entrants {
  readonly #pools = new Map<GatePool, Map<string, Partial<Record<Priority, Entrant>>>>()

  constructor(
    private readonly tenantWeight: (tenant: string) => number,
    private readonly classWeights: Readonly<Record<Priority, number>>,
  ) {}

  of(pool: GatePool, tenant: string, priority: Priority): Entrant {
    let tenants = this.#pools.get(pool)
    if (!tenants) {
      tenants = new Map()
      this.#pools.set(pool, tenants)
    }
    let classes = tenants.get(tenant)
    if (!classes) {
      classes = {}
      tenants.set(tenant, classes)
      if (tenants.size > MAX_TENANTS) tenants.delete(tenants.keys().next().value!)
    }
    let entrant = classes[priority]
    if (!entrant) {
      entrant = new Entrant(pool, tenant, this.tenantWeight(tenant), priority, this.classWeights[priority])
      classes[priority] = entrant
    }
    return entrant
  }
}
