/**
 * The contract between a dispatcher and the store that holds a group's truth. One call, `exchange`, carries everything:
 * settlements in, grants out, one round trip. Both stores answer the same question the same way (one contract suite).
 *
 * Times are the store's own, in whole ms, non-decreasing. Costs are whole numbers ≥ 0.
 */

/** One dimension of a limit. `windowMs` is 0 for concurrency. */
export interface LimitSpec {
  /** Unique in the group and equal in every process, e.g. `pool:glm-4-plus:requests:60000`. */
  readonly id: string
  readonly limit: number
  readonly windowMs: number
  /** Slack plus guard, in ms: how long after its window a bucket still counts. */
  readonly holdMs: number
  /** Concurrency only: cut the ceiling when the provider says that too many are in flight. */
  readonly adaptive: boolean
}

/** What a request takes of one dimension: index into the group's limits, and amount (1 for concurrency). */
export type Charge = readonly [limit: number, cost: number]

export interface Waiter {
  /** The process's own number for the grant it asks for; never used twice by one process id. */
  readonly grant: number
  readonly pool: number
  /** First come, first served holds inside a flow: when its first waiter is refused, so are the others. */
  readonly flow: number
  readonly sinceMs: number
  readonly charges: readonly Charge[]
}

/** A correction to a rate charge: negative goes back to its bucket, positive is debt at once. */
export type Adjustment = readonly [limit: number, bucket: number, delta: number]

/** The end of a grant. The store applies it once; repeats have no effect. */
export interface Settlement {
  readonly grant: number
  readonly adjustments: readonly Adjustment[]
  /** Limits of which one slot goes back. */
  readonly slots: readonly number[]
  /** Concurrency limits the provider refused this call for; at most one cut per round of refusals. */
  readonly cuts: readonly number[]
  /** When the refused grant was given: refusals of grants older than the last cut cut nothing. */
  readonly grantedAtMs: number
  /** Pauses `pool` for the fleet; a pause may be prolonged, never shortened. 0: none. */
  readonly coolDownMs: number
  readonly pool: number
}

/** A call still running under a former process id: its slots are taken again, over the limit if need be. */
export interface Adoption {
  readonly grant: number
  readonly slots: readonly number[]
}

export interface Exchange {
  readonly processId: string
  /** 1 joins; each further batch adds one. A repeated number is answered from memory, without effect. */
  readonly seq: number
  readonly leaseMs: number
  /** Slots of a dead process return no earlier than this (store time); 0 for its lease's end. */
  readonly holdUntilMs: number
  /** The epoch this process knew, or '' if none. */
  readonly knownEpoch: string
  /** The epoch to open if the store is empty. */
  readonly candidateEpoch: string
  /** The process saw the store's clock run ahead of its own: nothing counted since can be trusted. */
  readonly distrust: boolean
  readonly adoptions: readonly Adoption[]
  readonly settlements: readonly Settlement[]
  readonly waiters: readonly Waiter[]
}

export interface GrantReply {
  readonly grant: number
  /** The bucket each charge went to, in the order of the waiter's charges; 0 for concurrency. */
  readonly buckets: readonly number[]
}

/** A waiter that can never be granted: its cost exceeds the limit as it now stands. */
export interface RefusedReply {
  readonly grant: number
  readonly limit: number
  readonly max: number
}

export interface ExchangeReply {
  readonly nowMs: number
  readonly epoch: string
  /** The store no longer knows this process id: join again under a new one. */
  readonly fenced: boolean
  /** Nothing is granted before this instant; 0 when the store is sure of its sums. */
  readonly learnUntilMs: number
  readonly grants: readonly GrantReply[]
  readonly refused: readonly RefusedReply[]
  /** When to ask again for the waiters that are left; 0 when none is, or when only a wake-up can help. */
  readonly retryAtMs: number
}

export interface LimitUsage {
  readonly id: string
  readonly used: number
  readonly limit: number
  readonly ceiling: number
}

export interface GroupUsage {
  readonly nowMs: number
  readonly limits: readonly LimitUsage[]
  /** Process id → slots held, by limit id. */
  readonly processes: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** Pool → store time until which it cools down or is paused (`Infinity` for paused). */
  readonly pausedUntilMs: Readonly<Record<string, number>>
}

/** A fleet-wide change by an operator. */
export type ControlChange =
  | { readonly type: 'pause' | 'resume'; readonly pool: string }
  /** Holds while processes are configured with `base`: a newly deployed config wins over an old override. */
  | { readonly type: 'limit'; readonly id: string; readonly base: number; readonly limit: number }

export interface GroupSpec {
  readonly namespace: string
  readonly group: string
  readonly pools: readonly string[]
  readonly limits: readonly LimitSpec[]
}

export interface StoreEvents {
  /** Capacity was freed for this process id: ask again. */
  wake: () => void
  /** The connection came (back). */
  up: () => void
  /** The connection was lost. */
  down: (cause: unknown) => void
}

export interface GroupStore {
  /** One round trip. Rejects when the store can't be reached; the same exchange may then be sent again. */
  exchange(exchange: Exchange): Promise<ExchangeReply>
  control(change: ControlChange): Promise<void>
  usage(): Promise<GroupUsage>
  /** Starts listening; `wake` comes for the process id last used in `exchange`. */
  listen(events: StoreEvents): void
  close(): Promise<void>
}

/** How long a head that could be granted keeps later arrivals of other processes back before it is passed over. */
export const CLAIM_MS = 250
/** Spacing of probes of an adaptive ceiling, and the longest it grows to after failed probes. */
export const PROBE_MS = 10_000
export const MAX_PROBE_MS = 160_000
