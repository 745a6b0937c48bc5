import type { GateStats } from '../../gate-types.js'
import type { GroupPlan } from '../../limits/plan.js'
import type { GroupUsage } from '../../limits/store.js'
import type { LimitStatus } from '../../monitoring.js'
import type { PoolOperation } from './report.js'

/** How each pool's limits stand, by the store's word, or without one by what this process knows (`own`). */
export function operationsOf(
  groups: readonly GroupPlan[],
  usage: readonly GroupUsage[] | undefined,
  own?: GateStats,
): Map<string, PoolOperation> {
  const operations = new Map<string, PoolOperation>()
  groups.forEach(({ spec, pools }, index) => {
    const fleet = usage?.[index]
    const used = new Map(fleet?.limits.map((limit) => [limit.id, limit]))
    for (const pool of pools) {
      const known = own?.pools[pool.name]
      const limits = spec.draws[pool.index]!.map((at): LimitStatus => {
        const { id, dimension, windowMs, limit } = spec.limits[at]!
        const told = used.get(id)
        const ceiling = told?.ceiling ?? known?.ceilings[id]
        const now = told?.limit ?? limit
        return {
          id,
          kind: dimension,
          ...(windowMs > 0 && { windowMs }),
          limit: now,
          ...(told && { used: told.used }),
          ...(ceiling !== undefined && ceiling < now && { ceiling }),
          ...(told && told.proven < told.ceiling && { proven: told.proven }),
          ...(told && told.reserved > 0 && { reserved: told.reserved }),
        }
      })
      const leftMs = fleet ? (fleet.pausedUntilMs[pool.name] ?? 0) - fleet.nowMs : (known?.coolDownMs ?? 0)
      const paused = leftMs === Number.POSITIVE_INFINITY
      operations.set(pool.name, { limits, coolDownMs: paused ? 0 : Math.max(0, Math.round(leftMs)), paused })
    }
  })
  return operations
}
