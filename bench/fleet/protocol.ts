import type { PoolOptions } from '../../src/config.js'

/** Requests that are always outstanding: when one is done the next is spawned. */
export interface Load {
  readonly tenant: string
  readonly weight: number
  readonly outstanding: number
}

export interface Job {
  readonly redis: string
  readonly namespace: string
  readonly name: string
  readonly pool: Omit<PoolOptions, 'provider'>
  readonly loads: readonly Load[]
  /** LLM tokens of a request, uniform; 0 for none. */
  readonly tokens: readonly [least: number, most: number]
  readonly callMs: number
  /** The first requests come spread over so long. */
  readonly rampMs: number
  /** Wall time, ms since the Unix epoch. */
  readonly startAtMs: number
  readonly stopAtMs: number
  readonly seed: number
}

/** One call: when it was sent, of the wall clock, and by how much that was later than its grant's date. */
export type Sent = readonly [atMs: number, tokens: number, tenant: string, lateMs: number, callMs: number]

export interface Result {
  readonly sent: readonly Sent[]
  /** Grants that went void at the last look before the call. */
  readonly voided: number
  /** Grants that came too late to be handed to a request. */
  readonly late: number
  readonly roundTrips: number
  readonly cpuMs: number
}
