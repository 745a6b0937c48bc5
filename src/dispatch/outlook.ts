import { serviceRates } from '../limits/plan.js'
import type { ClockSync } from './clock-sync.js'
import type { TokenRequest } from './grant.js'
import { serviceOf } from './local-flow.js'
import type { DispatcherOptions } from './options.js'
import type { Known } from './session.js'
import type { Waiters } from './waiters.js'

/** What a wait is asked for. */
export type Asked = Pick<TokenRequest, 'pool' | 'flowKey' | 'draws' | 'tokens'>

/** Waits as far as they can be foretold from what the store last said and what waits here. */
export class Outlook {
  constructor(
    private readonly options: Pick<DispatcherOptions, 'clock' | 'spec'>,
    private readonly known: Known,
    private readonly waiters: Waiters,
    private readonly sync: ClockSync,
  ) {}

  /**
   * How long a request would wait if it came now, in ms: until its pool's first waiter is due, then for its own flow's
   * backlog, while every other flow is served as much, as far as it has anything. `more` requests like it are ahead besides.
   */
  estimateWaitMs(asked: Asked, more = 0): number {
    const { frontMs, loadUs, flows } = this.#queueOf(asked.pool)
    const own = this.waiters.loadOf(asked.pool, asked.flowKey)
    const service = serviceOf(serviceRates(this.options.spec.limits, asked.draws, 0), asked.tokens)
    const before = own.flow + more * service
    const others = Math.max(0, Math.max(loadUs, own.all) - own.flow)
    const rivals = Math.max(0, Math.max(flows, own.flows) - (own.flow > 0 ? 1 : 0))
    const busy = before > 0 || rivals > 0
    const ahead = before + Math.min(others, (before + service) * rivals)
    return Math.max(this.coolDownMs(asked.pool), frontMs) + (busy ? ahead / 1000 : 0)
  }

  /** As far as a request that came now is sure to wait: for its pool's cool-down, and for its own flow at full speed. */
  leastWaitMs({ pool, flowKey }: Asked): number {
    const { frontMs } = this.#queueOf(pool)
    const own = this.waiters.loadOf(pool, flowKey)
    return Math.max(this.coolDownMs(pool), own.flow > 0 ? frontMs : 0)
  }

  /** Left of a pool's cool-down; `Infinity` while it is paused. */
  coolDownMs(pool: number): number {
    if (this.known.paused.includes(pool)) return Number.POSITIVE_INFINITY
    return this.#leftMs(this.known.coolDowns.find(([index]) => index === pool)?.[1] ?? 0)
  }

  #queueOf(pool: number) {
    const [, frontAtMs = 0, loadUs = 0, flows = 0] = this.known.queues.find(([index]) => index === pool) ?? []
    return { frontMs: this.#leftMs(frontAtMs), loadUs, flows }
  }

  /** 0 where nothing is known: before the first reply not even the store's time is. */
  #leftMs(atMs: number): number {
    return atMs === 0 ? 0 : Math.max(0, atMs - this.sync.earliest(this.options.clock.now()))
  }
}
