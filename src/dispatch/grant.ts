import type { Place } from './fair-queue.js'

/** The dispatcher's permission to call now. Void after `sendByMs`. */
export interface Grant {
  readonly number: number
  readonly pool: number
  readonly tenant: string
  readonly flowKey: string
  /** Indexes of the limits it was charged to. */
  readonly draws: readonly number[]
  /** LLM tokens charged. */
  readonly tokens: number
  /** Service that its flow was charged by the store, µs. */
  readonly serviceUs: number
  /** Store time. */
  readonly notBeforeMs: number
  /** Store time; checked immediately before the request is written. `Infinity` where only slots are taken. */
  readonly sendByMs: number
  /** Given from this process's own floor, while the store was out of reach: then `sendByMs` is local time. */
  readonly isolated: boolean
  /** The longest the call may take, for slots that outlive a dead process. */
  readonly callTimeoutMs: number
  /** Local time at which it was handed to its request. */
  readonly boundAtMs: number
  /** Set once the request went out, or the permission was taken back. */
  state: 'unsent' | 'sent' | 'void'
}

/**
 * One request's wait for a grant. Exactly one of the callbacks is called, unless it is withdrawn. A wait that begins with
 * the `order` of one whose grant went void keeps its place.
 */
export interface TokenRequest extends Place<TokenRequest> {
  readonly pool: number
  /** First come, first served among those of one key: they share pool, tenant, class and what they draw on. */
  readonly flowKey: string
  readonly tenant: string
  readonly tenantWeight: number
  readonly classWeight: number
  /** Indexes of the limits it draws on. */
  readonly draws: readonly number[]
  readonly tokens: number
  /** Local time at which the wait began. */
  readonly sinceMs: number
  readonly callTimeoutMs: number
  onGrant(grant: Grant): void
  /** The cost exceeds the limit `id` as it now stands, `max`. */
  onRefused(id: string, max: number): void
}

/** What a provider's headers said of a limit. */
export interface Observation {
  readonly limit: number
  /** The limit itself, where it is named. */
  readonly max?: number
  readonly remaining?: number
  /** From now. */
  readonly resetMs?: number
}

/** How a grant ended. */
export interface GrantEnd {
  /** Nothing was written: every charge goes back. */
  readonly unsent?: boolean
  /** LLM tokens used less those charged; 0 or left out where nothing is to be corrected. */
  readonly tokensDelta?: number
  /** Limits that the provider refused this call for. */
  readonly cuts?: readonly number[]
  /** Pauses the pool, fleet-wide, for this long from now. */
  readonly coolDownMs?: number
  readonly observations?: readonly Observation[]
}
