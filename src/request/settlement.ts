import type { GrantEnd, Observation } from '../dispatch/grant.js'
import type { PoolPlan } from '../limits/plan.js'
import type { LimitSpec } from '../limits/store.js'
import { tokensCounted } from '../providers/charge.js'
import type { LimitObservation } from '../providers/limit-headers.js'
import { consequencesOf } from './consequences.js'
import type { RequestSpec } from './entry.js'
import type { CallEnd } from './work.js'

/** What the end of a call means for its grant: what goes back, what is owed, and what the fleet learns from it. */
export function grantEndOf(spec: RequestSpec, end: CallEnd): GrantEnd {
  if (end.type === 'unsent' || (end.type === 'failed' && end.sent === 'nothing')) return { unsent: true }
  const observations = observationsOf(spec, end.observations ?? [])
  if (end.type === 'failed') {
    const { cut, coolDownMs } = consequencesOf(end.failure)
    // Of several windows it is the shortest that a burst ran into.
    const limit = cut && spec.pool.config.adaptive ? shortest(spec.pool.plan.own[cut], spec.pool.limits) : undefined
    const cuts = limit === undefined ? [] : [limit]
    // What it goes over is owed; of the rest nobody knows what the provider went on to count.
    const over = end.usage ? tokensCounted(spec.pool.config.provider, end.usage) - spec.estimatedTokens : 0
    return { cuts, coolDownMs, observations, ...(over > 0 && { tokensDelta: over }) }
  }
  if (!end.usage) return { observations }
  const { provider } = spec.pool.config
  const delta = tokensCounted(provider, end.usage) - spec.estimatedTokens
  // Where the provider itself gives nothing back, an over-estimate stays spent.
  return { tokensDelta: delta < 0 && !provider.refundsEstimate ? 0 : delta, observations }
}

/** The pool's own limits that the headers spoke of. */
function observationsOf({ pool }: RequestSpec, said: readonly LimitObservation[]): Observation[] {
  return said.flatMap((observation) => {
    // A limit on a part of the tokens says nothing of their sum.
    const limit = observation.part === undefined ? limitOf(pool.plan, pool.limits, observation) : undefined
    if (limit === undefined) return []
    const { limit: max, remaining, resetMs } = observation
    return [
      {
        limit,
        ...(max !== undefined && { max }),
        ...(remaining !== undefined && { remaining }),
        ...(resetMs !== undefined && { resetMs }),
      },
    ]
  })
}

function limitOf({ own }: PoolPlan, limits: readonly LimitSpec[], { dimension, windowMs }: LimitObservation) {
  if (windowMs === undefined) return shortest(own[dimension], limits)
  return own[dimension].find((index) => limits[index]!.windowMs === windowMs)
}

function shortest(indexes: readonly number[], limits: readonly LimitSpec[]): number | undefined {
  let best: number | undefined
  for (const index of indexes) {
    if (best === undefined || limits[index]!.windowMs < limits[best]!.windowMs) best = index
  }
  return best
}
