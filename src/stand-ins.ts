import type { ModelRoute } from './gate-pool.js'
import type { Fallback } from './request/entry.js'
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

const NONE: readonly string[] = []

/** Other pools for what none of these can serve. */
export function fallbacksOf({ pools }: ModelRoute): readonly string[] {
  if (pools.every(({ runtime }) => runtime.config.fallback.length === 0)) return NONE
  const own = new Set(pools.map(({ runtime }) => runtime.config.name))
  const all = pools.flatMap(({ runtime }) => runtime.config.fallback)
  return [...new Set(all)].filter((name) => !own.has(name))
}

/** What asks each of them in turn; undefined where there is none. */
export function fallbacksFor(
  stands: readonly Stand[],
  origin: Omit<Origin, 'stream'>,
): readonly Fallback[] | undefined {
  if (stands.length === 0) return undefined
  return stands.map((stand) => (stream) => stand({ id: origin.id, deadlineMs: origin.deadlineMs, stream }))
}
