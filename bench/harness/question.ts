import type { RedisServer } from '../../src/testing/redis-server.js'

export type Metrics = Readonly<Record<string, number>>

/** What a measurement has at hand. */
export interface Bench {
  /** The project's own folder. */
  readonly root: string
  /** How long a steady state is to be measured. */
  readonly seconds: number
  /** Fewer sizes, for a quick look. */
  readonly quick: boolean
  /** A trace in the format of `headgate replay`, where one was given. */
  readonly trace: string | undefined
  /** Runs a task of this question in a fresh process. */
  child<T>(task: string, args: unknown): Promise<T>
  /** Where the peers are, installed at the first call. */
  peers(): Promise<string>
  /** An empty Redis for the time of `use`. */
  withRedis<T>(use: (server: RedisServer) => Promise<T>): Promise<T>
}

/** One thing to measure, in rows that belong side by side. */
export interface Case {
  readonly name: string
  /** `limit`: what the machine allows at best; `peer`: what else does this work. */
  readonly side: 'headgate' | 'limit' | 'peer'
  run(bench: Bench): Promise<Metrics>
}

/** The median of a metric over all runs of a case. */
export type Look = (name: string, metric: string) => number

export interface Goal {
  readonly what: string
  readonly value: (look: Look) => number
  readonly atLeast?: number
  readonly atMost?: number
}

export interface Question {
  readonly name: string
  readonly what: string
  /** Meaning and unit of each metric. */
  readonly metrics: Readonly<Record<string, string>>
  /** The metric that is above 1 where a row broke its limit. */
  readonly overrun?: string
  readonly cases: readonly Case[]
  readonly goals: readonly Goal[]
  /** What its child processes run. */
  readonly tasks?: Readonly<Record<string, (args: never) => Promise<unknown>>>
}
