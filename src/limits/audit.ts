import type { FairTree } from './fair-tree.js'
import type { Ledger } from './ledger.js'
import { costOf } from './round.js'
import { flowInFront, fronts } from './schedule.js'
import type { GroupSpec } from './store.js'

export interface FrontAudit {
  readonly pool: string
  readonly flow: string
  readonly sinceMs: number
  /** Waiters of its flow. */
  readonly count: number
  readonly draws: readonly string[]
  readonly tokens: number
  readonly fitsAtMs: number
  /** What its limits allow, all added up: a change says that one was moved. */
  readonly allowed: number
}

/**
 * For audits: who is first in each pool's line, in the order in which they were promised a date, and when it fits into
 * all rate limits if nothing else is granted; never, while it waits for a slot or for its pool to be open again.
 */
export function auditFronts(spec: GroupSpec, tree: FairTree, ledger: Ledger, nowMs: number): FrontAudit[] {
  const limits = new Map(spec.limits.map((limit) => [limit.id, limit]))
  return fronts(tree.pools).flatMap((pool) => {
    const { name, front } = pool
    const flow = flowInFront(pool)
    if (!flow || !front) return []
    const tokens = flow.costs[0] ?? 0
    const { control } = ledger
    const isHeld = control.isPaused(name) || control.earliestMs(name, nowMs) > nowMs
    let fitsAtMs = isHeld ? Number.POSITIVE_INFINITY : 0
    let allowed = 0
    for (const id of flow.draws) {
      const limit = limits.get(id)
      if (!limit) continue
      fitsAtMs = Math.max(fitsAtMs, ledger.fitsAtMs(limit, costOf(limit, tokens), nowMs))
      allowed += ledger.allowed(limit)
    }
    const { id, count, draws } = flow
    return [{ pool: name, flow: id, sinceMs: front.sinceMs, count, draws, tokens, fitsAtMs, allowed }]
  })
}
