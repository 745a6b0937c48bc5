/**
 * The contract between a dispatcher and the store that holds a group's truth. One call, `exchange`, carries everything:
 * statements and settlements in, dated grants out, one round trip. Both stores answer the same question the same way
 * (one contract suite).
 *
 * Times are the store's own, in whole ms, non-decreasing. Costs are whole numbers ≥ 0. Service is counted in µs of a
 * pool's full capacity: a request that takes a 50th of a limit of a minute costs 1.2 s of it.
 */

export type Dimension = 'requests' | 'tokens' | 'concurrency'

/** One dimension of a limit. `windowMs` is 0 for concurrency. */
export interface LimitSpec {
  /** Unique in the group and equal in every process, e.g. `pool:glm-4-plus:requests:60000`. */
  readonly id: string
  readonly dimension: Dimension
  readonly limit: number
  readonly windowMs: number
  /** Slack plus guard, in ms: how long after its window a bucket still counts. */
  readonly holdMs: number
  /** Cut the ceiling when the provider says that this limit is lower. */
  readonly adaptive: boolean
}

/**
 * All that one flow of a process waits for: a whole statement each time, in place of the one before.
 * A request takes 1 of every request and concurrency limit in `draws` and its LLM tokens of every token limit.
 */
export interface FlowStatement {
  /** Unique in the process. */
  readonly key: string
  readonly pool: number
  readonly tenant: string
  readonly tenantWeight: number
  readonly classWeight: number
  /** Indexes of the limits that its requests draw on. */
  readonly draws: readonly number[]
  /** Service of the smallest request, µs. */
  readonly base: number
  /** Service per LLM token, ns. */
  readonly perToken: number
  /** Waiters without a grant; 0 withdraws the flow. */
  readonly count: number
  /** Service that all of them wait for, µs. */
  readonly load: number
  /** Store time at which the first of them began to wait. */
  readonly sinceMs: number
  /** LLM tokens of the first ≤ 64 of them, in order; left empty where `perToken` is 0, for then all cost the same. */
  readonly costs: readonly number[]
}

/** A correction to a rate charge: negative goes back to its bucket, positive is debt at once. */
export type Adjustment = readonly [limit: number, bucket: number, delta: number]

/**
 * What a process knows of the fleet's spending, for a store that lost it: its own charges in full, and copies of what
 * the store last said.
 */
export interface Journal {
  readonly charges: readonly Adjustment[]
  /** Names (process ids without incarnation) of all that may have spent in the last window. */
  readonly roster: readonly string[]
  /** What it takes the store's clock for, at the latest, as it tells this: by that clock it dated what it spent. */
  readonly storeMs: number
  /** Fleet sums of the long windows. */
  readonly used: readonly (readonly [limit: number, used: number])[]
  readonly ceilings: readonly (readonly [limit: number, value: number])[]
  readonly coolDowns: readonly (readonly [pool: number, untilMs: number])[]
  readonly paused: readonly number[]
  readonly overrides: readonly (readonly [limit: number, value: number])[]
  readonly poolWords: ExchangeReply['poolWords']
  readonly limitWords: ExchangeReply['limitWords']
}

export interface Exchange {
  /** `<name>.<incarnation>`: a new incarnation takes the place of all former ones of its name. */
  readonly processId: string
  /** 1 joins; each further batch adds one. A repeated number, and 0, is answered from memory, without effect. */
  readonly seq: number
  readonly leaseMs: number
  /** Slots of a dead process return no earlier than this (store time); 0 for its lease's end. */
  readonly holdUntilMs: number
  /** How long after its lease this process may go on sending from its floor; 0 for not at all. */
  readonly isolatedMs: number
  /** The epoch this process knew, or '' if none. */
  readonly knownEpoch: string
  /** The highest version it saw in that epoch. */
  readonly knownVersion: number
  /** The epoch to open if the store is empty or lost its state: never used before, `<age>-…`, one older than the known. */
  readonly candidateEpoch: string
  /** The process saw the store's clock run ahead of its own: nothing counted since can be trusted. */
  readonly distrust: boolean
  /** With `seq` 1: slots of calls still running, taken again over the limit if need be. */
  readonly held: readonly (readonly [limit: number, count: number])[]
  /** With `seq` 1: this process's floor of each limit as it was last told; empty if never. It may go on from it until it hears. */
  readonly floors: readonly number[]
  /** With `seq` 1 of a process that knows an epoch. */
  readonly journal: Journal | null
  readonly adjustments: readonly Adjustment[]
  readonly freed: readonly (readonly [limit: number, count: number])[]
  /** Limits that the provider refused a call for, and when that call's grant was dated. */
  readonly cuts: readonly (readonly [limit: number, grantedAtMs: number])[]
  /** Pauses a pool for the fleet; a pause may be prolonged, never shortened. */
  readonly coolDowns: readonly (readonly [pool: number, untilMs: number])[]
  /** What the provider's headers said: a lower limit (0: none), and what it counts as spent until `untilMs`. */
  readonly observed: readonly (readonly [limit: number, max: number, spent: number, untilMs: number])[]
  /** Corrections of service charged to this process's flows, µs. */
  readonly service: readonly (readonly [pool: number, tenant: string, flow: string, delta: number])[]
  readonly flows: readonly FlowStatement[]
  /** The process goes, holding nothing. */
  readonly leave: boolean
}

/** Grants of one flow, in order: `[key, notBefore, tokens, notBefore, tokens, …]`. */
export type GrantReply = readonly [flow: string, ...dated: number[]]

export interface ExchangeReply {
  /** Store time in whole ms: every date is. */
  readonly nowMs: number
  /** The same reading to the µs. */
  readonly readMs: number
  /** By how much store time was kept from going back so far: once that rises, readings from before say nothing any more. */
  readonly setBackMs: number
  readonly epoch: string
  /** Rises with every exchange. */
  readonly version: number
  /** The store no longer knows this process id: join again under a new one. */
  readonly fenced: boolean
  /** Nothing is granted before this instant at the latest; 0 when the store is sure of its sums. */
  readonly learnUntilMs: number
  readonly grants: readonly GrantReply[]
  /** Flows whose first waiter costs more than the limit allows as it now stands. */
  readonly refused: readonly (readonly [flow: string, limit: number, max: number])[]
  /** When to ask again for the waiters that are left; 0 when only a wake-up can help. */
  readonly retryAtMs: number
  /** The store dropped this process's flows: state them all again. */
  readonly restate: boolean
  /** How many freed slots a flow may take over without asking, in the order in which it should. */
  readonly handoffs: readonly (readonly [flow: string, count: number])[]
  /**
   * Pools in which anybody waits: when the first is due (0: not known), the service waited for, µs, in how many flows. With
   * 0 flows, of a pool whose windows are full: when they have room for a request, and for how many µs more LLM tokens, which
   * may come back, are spent.
   */
  readonly queues: readonly (readonly [pool: number, frontAtMs: number, loadUs: number, flows: number])[]
  readonly coolDowns: readonly (readonly [pool: number, untilMs: number, generation: number])[]
  readonly paused: readonly number[]
  readonly ceilings: readonly (readonly [limit: number, value: number])[]
  readonly overrides: readonly (readonly [limit: number, value: number])[]
  /** When an operator last paused or resumed a pool, or moved a limit: of two words the newer counts. */
  readonly poolWords: readonly (readonly [pool: number, atMs: number])[]
  readonly limitWords: readonly (readonly [limit: number, atMs: number])[]
  /** Fleet sums of windows of `LONG_WINDOW_MS` or more. */
  readonly used: readonly (readonly [limit: number, used: number])[]
  /** The roster and this process's floor of each limit; null while as last told. */
  readonly share: { readonly roster: readonly string[]; readonly floors: readonly number[] } | null
}

export interface LimitUsage {
  readonly id: string
  /** Spent in the window, or in flight: what is granted and not settled included. */
  readonly used: number
  /**
   * Neither spent nor free: set aside for processes that may be cut off, and promised to who is first in a pool's line.
   * Beside what is spent it may exceed the limit: a promise waits for spending to leave the window.
   */
  readonly reserved: number
  /** As last configured. */
  readonly limit: number
  /** What is granted at most, as the provider last showed and said it. */
  readonly ceiling: number
  /** The ceiling without the probe that is under way; else the same. */
  readonly proven: number
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
  /** For each pool the limits that all its requests draw on. */
  readonly draws: readonly (readonly number[])[]
}

export interface StoreEvents {
  /** There is mail for this process id, or news for all: ask. */
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

/** What an exchange brings when nothing was settled, found out or observed. */
export const NO_NEWS = { adjustments: [], freed: [], cuts: [], coolDowns: [], observed: [], service: [] } as const

/** Costs a statement may name. */
export const MAX_COSTS = 64
/** Grants one exchange may give, over all processes. */
export const MAX_GRANTS = 512
/** How far ahead a grant may be dated, and the share of a window that is never exceeded by it. */
export const HORIZON_MS = 1_000
export const HORIZON_SHARE = 4
/** Mail not fetched by then is taken back, and its process's flows with it. */
export const CLAIM_MS = 250
/** How much later than the entitled process the others ask when a date comes near. */
export const BACKUP_MS = 100
/** Heads that may be refused in one pool before an exchange looks no further. */
export const MAX_REFUSED_HEADS = 16
/** A flow or tenant that was kept back may be behind by this much service, µs, and its next request: no more credit. */
export const MAX_LAG_US = 5_000_000
/** A waiter's class weighs up to that of the highest waiting beside it: it doubles after each of these. */
export const AGEING_MS = 30_000
export const MAX_CLASS_WEIGHT = 4
/** After a cool-down a pool's grants are spaced for so long. */
export const RE_ENTRY_MS = 2_000
export const RE_ENTRY_SPACING_MS = 20
/** Spacing of probes of an adaptive ceiling, and the longest it grows to after failed probes. */
export const PROBE_MS = 10_000
export const MAX_PROBE_MS = 160_000
/** A journal whose clock is behind by more than a message takes is by the clock from before a jump. */
export const JUMP_MS = 100
/** How long a store that lost its state waits for those it may not know of, and for those it knows of. */
export const HEARSAY_MS = 1_000
export const LEARN_MS = 10_000
/** Sums of windows this long are copied to every process. */
export const LONG_WINDOW_MS = 600_000
