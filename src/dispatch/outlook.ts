import { serviceRates } from '../limits/plan.js'
import { costOf } from '../limits/round.js'
import type { ClockSync } from './clock-sync.js'
import type { TokenRequest } from './grant.js'
import { serviceOf } from './local-flow.js'
import type { DispatcherOptions } from './options.js'
import type { Known } from './session.js'
import type { Waiters } from './waiters.js'

/** What a wait is asked for. */
export type Asked = Pick<TokenRequest, 'pool' | 'flowKey' | 'draws' | 'tokens'>

/** So long what the store said of a pool without a line is sure: nobody tells this process if it changes. */
const SURE_MS = 10_000

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
   * `Infinity` for what costs more than a limit as it now stands.
   */
  estimateWaitMs(asked: Asked, more = 0): number {
    if (this.#isTooLarge(asked)) return Number.POSITIVE_INFINITY
    const { frontMs, loadUs, flows } = this.#queueOf(asked.pool)
    const own = this.waiters.loadOf(asked.pool, asked.flowKey)
    const service = serviceOf(serviceRates(this.options.spec.limits, asked.draws, 0), asked.tokens)
    const before = own.flow + more * service
    const others = Math.max(0, Math.max(loadUs, own.all) - own.flow)
    const rivals = Math.max(0, Math.max(flows, own.flows) - (own.flow > 0 ? 1 : 0))
    const busy = before > 0 || rivals > 0
    const ahead = before + Math.min(others, (before + service) * rivals)
    const tokensMs = flows === 0 ? loadUs / 1000 : 0
    return Math.max(this.coolDownMs(asked.pool), frontMs + tokensMs) + (busy ? ahead / 1000 : 0)
  }

  /**
   * As far as a request that came now is sure to wait: for its pool's cool-down, for its own flow at full speed, and, where
   * nobody waits, for room in a window that was full of late.
   */
  leastWaitMs({ pool, flowKey }: Asked): number {
    const { frontMs, flows } = this.#queueOf(pool)
    const own = this.waiters.loadOf(pool, flowKey)
    const isFull = flows === 0 && this.#leftMs(this.known.usedAsOfMs + SURE_MS) > 0
    return Math.max(this.coolDownMs(pool), own.flow > 0 || isFull ? frontMs : 0)
  }

  /** Left of a pool's cool-down; `Infinity` while it is paused. */
  coolDownMs(pool: number): number {
    if (this.known.paused.includes(pool)) return Number.POSITIVE_INFINITY
    return this.#leftMs(this.known.coolDowns.find(([index]) => index === pool)?.[1] ?? 0)
  }

  #isTooLarge({ draws, tokens }: Asked): boolean {
    return this.known.overrides.some(
      ([index, max]) => draws.includes(index) && costOf(this.options.spec.limits[index]!, tokens) > max,
    )
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
