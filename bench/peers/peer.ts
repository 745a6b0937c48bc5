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
  /** At most so many starts in any window. */
  readonly rate?: { readonly limit: number; readonly windowMs: number }
  /** At most so many in flight. */
  readonly slots?: number
  /** Requests that are always waiting or running in each process. */
  readonly outstanding: number
  /** As many as can be done in the time, for who takes jobs from a shared queue. */
  readonly jobs: number
}

export type Call = () => Promise<void>

/** One process's part, joined and warm. */
export interface Peer {
  /** Keeps the backlog up until the process ends. */
  start(call: Call): void
}

const YIELD_EVERY = 8

/** Keeps so many outstanding: whoever is done asks anew. */
export function backlog(outstanding: number, submit: (call: Call) => Promise<unknown>): Peer {
  let done = 0
  const producer = async (call: Call) => {
    for (;;) {
      await submit(call)
      // Left to promises alone it would never let a timer run.
      if (++done % YIELD_EVERY === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return {
    start(call) {
      for (let i = 0; i < outstanding; i++) void producer(call)
    },
  }
}

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
