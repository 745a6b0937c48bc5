import type { Clock } from './clock.js'
import type { Asked } from './dispatch/outlook.js'
import { HeadgateError } from './errors.js'
import type { GatePool } from './gate-pool.js'

/** How long a pool is kept away from once its provider refused its key. */
const REFUSED_MS = 60_000
/** Then one request tries, and the others wait for news of it this long. */
const PROBE_MS = 10_000

export interface Choice {
  readonly pool: GatePool
  /** Estimated, to 10 ms; `Infinity` while the pool is paused. */
  readonly waitMs: number
}

interface Ranked extends Choice {
  /** Of the slots, those taken. */
  readonly fullness: number
  readonly load: number
  /** Number of its last request. */
  readonly turn: number
}

/** Chooses between the pools behind one model: the one with the shortest wait; of equals the least used, then in turn. */
export class Deployments {
  /** Pools whose provider refused the key, and when they may be tried again. */
  readonly #refused = new Map<string, number>()
  readonly #turns = new Map<string, number>()
  #taken = 0

  constructor(private readonly clock: Pick<Clock, 'now'>) {}

  /** The provider knows the pool's key no more. */
  refused(pool: string): void {
    this.#refused.set(pool, this.clock.now() + REFUSED_MS)
  }

  /** A pool of that name answered: its key is good. */
  answered(pool: string): void {
    if (this.#refused.size > 0) this.#refused.delete(pool)
  }

  /** A request goes to a pool. */
  took(pool: string): void {
    this.#turns.set(pool, ++this.#taken)
    // Its time is over: this one request finds out whether the key is good again.
    if (this.#refused.has(pool)) this.#refused.set(pool, this.clock.now() + PROBE_MS)
  }

  /** The soonest first; without those whose key was refused, as long as there are others. */
  ranked(pools: readonly GatePool[], askedOf: (pool: GatePool) => Asked): Choice[] {
    const good = pools.filter(({ runtime }) => !this.#isRefused(runtime.config.name))
    const ranked = (good.length > 0 ? good : pools).map((pool): Ranked => {
      const { fullness, load } = useOf(pool)
      // Full, with nobody waiting: nothing is known of the wait but that there is one.
      const leastMs = fullness >= 1 ? 10 : 0
      const waitMs = Math.max(leastMs, Math.round(pool.dispatcher.outlook.estimateWaitMs(askedOf(pool)) / 10) * 10)
      return { pool, waitMs, fullness, load, turn: this.#turns.get(pool.runtime.config.name) ?? 0 }
    })
    return ranked.sort(compare)
  }

  #isRefused(pool: string): boolean {
    return this.clock.now() < (this.#refused.get(pool) ?? 0)
  }
}

function compare(a: Ranked, b: Ranked): number {
  // Two that are paused differ by NaN, which is nothing.
  return a.waitMs - b.waitMs || a.fullness - b.fullness || a.load - b.load || a.turn - b.turn
}

/** Of pools that share limits, what all of them use. */
function useOf({ dispatcher, runtime }: GatePool): { fullness: number; load: number } {
  const load = dispatcher.open + dispatcher.waiting
  const slots = runtime.plan.ownConcurrency
  if (slots === undefined) return { fullness: 0, load }
  const learned = dispatcher.known.ceilings.find(([index]) => index === slots)?.[1]
  return { fullness: dispatcher.open / (learned ?? runtime.limits[slots]!.limit), load }
}

/** The pools whose limits allow what the request costs. Throws BAD_REQUEST where none does. */
export function fitting(
  pools: readonly GatePool[],
  tenant: string,
  call: { tokensIn(pool: GatePool): number },
): readonly GatePool[] {
  const tooLarge = (pool: GatePool) => pool.runtime.plan.tooLarge({ tokens: call.tokensIn(pool) }, tenant)
  if (!pools.some(tooLarge)) return pools
  const fit = pools.filter((pool) => !tooLarge(pool))
  if (fit.length > 0) return fit
  const { id, max, cost } = tooLarge(pools[0]!)!
  throw new HeadgateError('BAD_REQUEST', `the request costs ${cost} of ${id}, which allows at most ${max}`)
}
