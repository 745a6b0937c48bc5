import type { RequestState } from '../../machines/vocabulary.js'
import type { Clock } from '../clock.js'
import type { Entry } from './entry.js'

/** A request that is not done, as it stands. */
export interface LiveRequest {
  readonly id: string
  readonly pool: string
  readonly tenant: string
  readonly state: RequestState
  /** Calls started. */
  readonly attempt: number
  /** Time spent in each state so far, in ms. */
  readonly msIn: Readonly<Record<RequestState, number>>
}

/** The requests that are not done, for who looks at them. */
export class LiveRequests {
  constructor(
    private readonly entries: Iterable<Entry>,
    private readonly clock: Clock,
  ) {}

  /** By pool and state. */
  count(): Map<string, Map<RequestState, number>> {
    const pools = new Map<string, Map<RequestState, number>>()
    for (const { spec, state } of this.entries) {
      const states = pools.get(spec.pool.config.name) ?? new Map<RequestState, number>()
      pools.set(spec.pool.config.name, states.set(state, (states.get(state) ?? 0) + 1))
    }
    return pools
  }

  /** Oldest first, at most `limit`. */
  list(limit: number): LiveRequest[] {
    const nowMs = this.clock.now()
    const oldest: LiveRequest[] = []
    for (const entry of this.entries) {
      if (oldest.length >= limit) break
      oldest.push(liveOf(entry, nowMs))
    }
    return oldest
  }
}

function liveOf({ spec, state, attempt, msIn, sinceMs }: Entry, nowMs: number): LiveRequest {
  return {
    id: spec.id,
    pool: spec.pool.config.name,
    tenant: spec.tenant,
    state,
    attempt,
    msIn: { ...msIn, [state]: msIn[state] + nowMs - sinceMs },
  }
}
