import { createRequire } from 'node:module'
import { join } from 'node:path'

/** What a process of the fleet is to keep to, together with the others. */
export interface PeerJob {
  readonly peer: string
  /** Where the peers are installed. */
  readonly home: string
  readonly redisPort: number
  readonly processes: number
  readonly index: number
  /** At most so much in any window. */
  readonly rate?: { readonly limit: number; readonly windowMs: number }
  /** Whether the rate counts the requests' weights, not the requests. */
  readonly weighted?: boolean
  /** At most so many in flight. */
  readonly slots?: number
  /** Requests that are waiting or running at most in each process. */
  readonly outstanding: number
  /** As many as can be done in the time, for who takes jobs from a shared queue. */
  readonly jobs: number
  /** Whether a shared queue has them from the start. */
  readonly filled: boolean
}

/** A request as it came: wall time in ms since the Unix epoch, and what it takes of a weighted rate. */
export interface Arrival {
  readonly atMs: number
  readonly weight: number
}

/** Runs when a request's turn has come. */
export type Call = (arrival: Arrival) => Promise<void>

/** One process's part, joined and warm. */
export interface Peer {
  /** Takes a request; settles when it is done or, where jobs are shared, when it is queued. */
  submit(arrival: Arrival): Promise<unknown>
  /** From now on jobs are taken from the shared queue. */
  start?(): void
}

export type Join = (job: PeerJob, call: Call) => Promise<Peer>

/** A package of the bench's own folder. */
export function load<T>(home: string, name: string): T {
  return createRequire(join(home, 'package.json'))(name) as T
}

/** The options that the peers' Redis clients share. */
export const connectionOf = ({ redisPort }: PeerJob) => ({
  host: '127.0.0.1',
  port: redisPort,
  maxRetriesPerRequest: null,
})

export function rateOf({ peer, rate }: PeerJob): NonNullable<PeerJob['rate']> {
  if (!rate) throw new Error(`${peer}: expected a rate`)
  return rate
}
