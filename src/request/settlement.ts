import type { GrantEnd } from '../dispatch/grant.js'
import { consequencesOf } from './consequences.js'
import type { RequestSpec } from './entry.js'
import type { CallEnd } from './work.js'

/** What the end of a call means for its grant: what goes back, what is owed, and what the fleet learns from it. */
export function grantEndOf(spec: RequestSpec, end: CallEnd): GrantEnd {
  if (end.type === 'unsent') return { unsent: true }
  if (end.type === 'failed') {
    if (end.sent === 'nothing') return { unsent: true }
    const { cut, coolDownMs } = consequencesOf(end.failure)
    const slot = spec.pool.plan.ownConcurrency
    const cuts = cut && slot !== undefined && spec.pool.config.adaptive ? [slot] : []
    return { cuts, coolDownMs }
  }
  if (!end.usage) return {}
  const delta = end.usage.totalTokens - spec.estimatedTokens
  // Where the provider itself gives nothing back, an over-estimate stays spent.
  if (delta === 0 || (delta < 0 && !spec.pool.config.provider.refundsEstimate)) return {}
  const { dims } = spec.pool.plan
  return {
    deltas: new Map(spec.charges.filter(([index]) => dims[index] === 'tokens').map(([index]) => [index, delta])),
  }
}
