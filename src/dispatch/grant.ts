import type { Charge } from '../limits/store.js'

/** The dispatcher's permission to call now. Void after `sendByMs`. */
export interface Grant {
  readonly number: number
  readonly pool: number
  readonly charges: readonly Charge[]
  /** The bucket each charge went to. */
  readonly buckets: readonly number[]
  /** Store time. */
  readonly notBeforeMs: number
  /** Store time; checked immediately before the request is written. */
  readonly sendByMs: number
  /** The longest the call may take, for slots that outlive a dead process. */
  readonly callTimeoutMs: number
  /** Set once the request went out, or the permission was taken back. */
  state: 'unsent' | 'sent' | 'void'
}

/** One request's wait for a grant. Exactly one of the callbacks is called, unless it is withdrawn. */
export interface TokenRequest {
  readonly pool: number
  /** Flow of the request: first come, first served inside it. */
  readonly flowKey: string
  readonly weight: number
  /** The largest of cost/limit over the dimensions: what the flow pays in fair queueing; above 0. */
  readonly share: number
  readonly charges: readonly Charge[]
  /** Local time at which the wait began: older waits of other processes go first. */
  readonly sinceMs: number
  readonly callTimeoutMs: number
  /** Set by the dispatcher; a request that comes back with it, after a grant that went void, keeps its place. */
  order?: number
  readonly onGrant: (grant: Grant) => void
  /** The cost exceeds the limit `id` as it now stands, `max`. */
  readonly onRefused: (id: string, max: number) => void
}

/** How a grant ended. */
export interface GrantEnd {
  /** Nothing was written: every charge goes back. */
  readonly unsent?: boolean
  /** Correction to each charged dimension's rate, by limit index: actual minus charged. */
  readonly deltas?: ReadonlyMap<number, number>
  /** Concurrency limits that the provider refused this call for. */
  readonly cuts?: readonly number[]
  /** Pauses the pool, fleet-wide, for this long from now. */
  readonly coolDownMs?: number
}
