import type { Asked } from './dispatch/outlook.js'
import type { GatePool, ModelRoute } from './gate-pool.js'
import type { Alternatives } from './request/entry.js'
import type { StreamTarget } from './request/event-stream.js'
import type { GateRequest } from './request/request.js'

/** The request that another one stands in for. */
export interface Origin {
  readonly id: string
  readonly deadlineMs: number | undefined
  readonly stream: StreamTarget | undefined
}

/** What makes the same request in another pool, for one that is known by then. */
export type Stand = (origin: Origin) => GateRequest | undefined

/** Other pools for what none of these can serve. */
export function fallbacksOf({ pools }: ModelRoute): string[] {
  const own = new Set(pools.map(({ runtime }) => runtime.config.name))
  const all = pools.flatMap(({ runtime }) => runtime.config.fallback)
  return [...new Set(all)].filter((name) => !own.has(name))
}

export function alternativesOf(
  { pools }: ModelRoute,
  askedIn: (pool: GatePool) => Asked,
  stands: readonly Stand[],
  origin: Omit<Origin, 'stream'>,
): Alternatives | undefined {
  if (stands.length === 0) return undefined
  // Where nothing is delayed there is nothing to escape from; and of several pools the soonest counts.
  const least = (of: (pool: GatePool) => number) => Math.min(...pools.map((pool) => (pool.shadow ? 0 : of(pool))))
  return {
    fallbacks: stands.map((stand) => (stream) => stand({ id: origin.id, deadlineMs: origin.deadlineMs, stream })),
    leastWaitMs: () => least((pool) => pool.dispatcher.outlook.leastWaitMs(askedIn(pool))),
  }
}
