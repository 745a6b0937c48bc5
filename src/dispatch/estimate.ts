import { serviceRates } from '../limits/plan.js'
import type { GroupSpec } from '../limits/store.js'
import type { TokenRequest } from './grant.js'
import { serviceOf } from './local-flow.js'
import type { Known } from './session.js'
import type { Waiters } from './waiters.js'

export interface View {
  readonly spec: GroupSpec
  readonly known: Known
  readonly waiters: Waiters
  /** Store time, at the earliest. */
  readonly storeMs: number
}

type Asked = Pick<TokenRequest, 'pool' | 'flowKey' | 'draws' | 'tokens'>

/**
 * How long a request would wait if it came now: until its pool's first waiter is due, then for its own flow's backlog,
 * while every other flow is served as much, as far as it has anything.
 */
export function estimateWaitMs(view: View, asked: Asked): number {
  const { frontMs, loadUs, flows } = queueOf(view, asked.pool)
  const own = view.waiters.loadOf(asked.pool, asked.flowKey)
  const service = serviceOf(serviceRates(view.spec.limits, asked.draws, 0), asked.tokens)
  const others = Math.max(0, Math.max(loadUs, own.all) - own.flow)
  const rivals = Math.max(0, Math.max(flows, own.flows) - (own.flow > 0 ? 1 : 0))
  const busy = own.flow > 0 || rivals > 0
  const ahead = own.flow + Math.min(others, (own.flow + service) * rivals)
  return Math.max(gateMs(view, asked.pool), frontMs) + (busy ? ahead / 1000 : 0)
}

/** As far as a request that came now is sure to wait: for its pool's cool-down, and for its own flow at full speed. */
export function leastWaitMs(view: View, asked: Asked): number {
  const { frontMs } = queueOf(view, asked.pool)
  const own = view.waiters.loadOf(asked.pool, asked.flowKey)
  return Math.max(gateMs(view, asked.pool), own.flow > 0 ? frontMs : 0)
}

function queueOf({ known, storeMs }: View, pool: number) {
  const [, frontAtMs = 0, loadUs = 0, flows = 0] = known.queues.find(([index]) => index === pool) ?? []
  return { frontMs: Math.max(0, frontAtMs - storeMs), loadUs, flows }
}

/** Until the pool's cool-down is over; `Infinity` while it is paused. */
export function gateMs({ known, storeMs }: Pick<View, 'known' | 'storeMs'>, pool: number): number {
  if (known.paused.includes(pool)) return Number.POSITIVE_INFINITY
  const untilMs = known.coolDowns.find(([index]) => index === pool)?.[1] ?? 0
  return Math.max(0, untilMs - storeMs)
}
