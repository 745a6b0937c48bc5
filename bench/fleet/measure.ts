import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import { startRedisServer } from '../../src/testing/redis-server.js'
import type { Job, Load, Result, Sent } from './protocol.js'

export interface Fleet {
  readonly processes: number
  readonly pool: Job['pool']
  readonly loads: (process: number) => readonly Load[]
  readonly tokens?: Job['tokens']
  readonly callMs?: number
  readonly rampMs?: number
  readonly durationMs: number
}

export interface Measured {
  readonly sent: readonly (Sent & { readonly process?: number })[]
  readonly byProcess: readonly Result[]
  readonly grants: number
  readonly voided: number
  readonly late: number
  readonly roundTrips: number
  readonly redisUs: number
  readonly cpuMs: number
  readonly startMs: number
}

/** Until all have joined, and a Redis that was just started is taken for empty rather than for one that lost its state. */
const START_MS = 4_000
const SEED = 1

/** Runs a fleet of processes against a Redis of its own. */
export async function measure(fleet: Fleet, worker: string): Promise<Measured> {
  const server = await startRedisServer()
  try {
    const startMs = Date.now() + START_MS
    const results = Array.from({ length: fleet.processes }, (_, index) =>
      runWorker(worker, {
        redis: server.url,
        namespace: 'bench',
        name: `p${index}`,
        pool: fleet.pool,
        loads: fleet.loads(index),
        tokens: fleet.tokens ?? [0, 0],
        callMs: fleet.callMs ?? 0,
        rampMs: fleet.rampMs ?? 0,
        startAtMs: startMs,
        stopAtMs: startMs + fleet.durationMs,
        seed: SEED + index,
      }),
    )
    const client = new Redis(server.url)
    const beforeUs = await scriptUs(client)
    const byProcess = await Promise.all(results)
    const redisUs = (await scriptUs(client)) - beforeUs
    client.disconnect()
    const sent = byProcess.flatMap((result) => result.sent).sort(([a], [b]) => a - b)
    const sum = (of: (result: Result) => number) => byProcess.reduce((total, result) => total + of(result), 0)
    return {
      sent,
      byProcess,
      grants: sent.length,
      voided: sum(({ voided }) => voided),
      late: sum(({ late }) => late),
      roundTrips: sum(({ roundTrips }) => roundTrips),
      redisUs,
      cpuMs: sum(({ cpuMs }) => cpuMs),
      startMs,
    }
  } finally {
    await server.stop()
  }
}

async function runWorker(worker: string, job: Job): Promise<Result> {
  const child = fork(worker, { serialization: 'advanced', stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  child.send(job)
  const [result] = await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(([code]) => Promise.reject(new Error(`a worker ended with ${code}`))),
  ])
  return result as Result
}

/** What Redis itself spent in scripts, µs. */
async function scriptUs(client: Redis): Promise<number> {
  const stats = await client.info('commandstats')
  let totalUs = 0
  for (const [, usec] of stats.matchAll(/cmdstat_eval(?:sha)?:calls=\d+,usec=(\d+)/g)) totalUs += Number(usec)
  return totalUs
}
