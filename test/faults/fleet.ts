import { Redis } from 'ioredis'
import { expect, type TestContext } from 'vitest'
import type { GateOptions, LimitOptions, PoolOptions } from '../../src/config.js'
import {
  type RedisServer,
  type Simulator,
  startRedisServer,
  startSimulator,
  worstWindow,
} from '../../src/testing/index.js'
import { GateProcess } from './process.js'
import { until } from './until.js'

/** They take a quarter of a minute at most; a machine that others use may take its time. */
export const TIMEOUT_MS = 120_000
/** As much as two busy cores may delay an arrival; with the slack it makes a 2 s window one of 2.15 s. */
const GUARD_MS = 100
const WINDOW_MS = 2_000
const LIMIT = 40
const LIMITS = { requests: { limit: LIMIT, per: WINDOW_MS }, concurrency: 8 }
const LATENCY_MS = 30
const FULL = 0.9
const one = () => 1

interface Rate {
  readonly limit: number
  readonly per: number
}

interface FleetOptions {
  /** Default 2: each costs half a second of processor time to start. */
  readonly processes?: number
  readonly limits?: LimitOptions
  readonly pool?: Partial<PoolOptions>
  readonly isolatedMaxMs?: number
  readonly cache?: GateOptions['cache']
  readonly redisArgs?: string[]
}

export interface Fleet {
  readonly redis: RedisServer
  /** For commands that do harm. */
  readonly admin: Redis
  readonly provider: Simulator
  readonly processes: GateProcess[]
  readonly options: GateOptions
  /** A further process; its gate is built, not yet known to be ready. */
  add(): Promise<GateProcess>
}

/** Processes that share one pool over a Redis of their own, and a provider that takes everything and keeps the log. */
export async function startFleet({ onTestFinished }: TestContext, settings: FleetOptions = {}): Promise<Fleet> {
  const { limits = LIMITS, isolatedMaxMs, cache } = settings
  const redis = await startRedisServer({ args: settings.redisArgs ?? [] })
  const admin = new Redis(redis.url)
  admin.on('error', () => {})
  const provider = await startSimulator({ profile: 'openai', latencyMs: LATENCY_MS })
  const processes: GateProcess[] = []
  onTestFinished(async () => {
    await Promise.all(processes.map((process) => process.kill()))
    admin.disconnect()
    await Promise.all([redis.stop(), provider.close()])
  })
  const options: GateOptions = {
    redis: redis.url,
    ...(isolatedMaxMs !== undefined && { isolatedMaxMs }),
    ...(cache && { cache }),
    queue: { maxQueued: 5, maxActive: 25 },
    pools: {
      p: { provider: 'openai', apiKey: 'any', baseURL: provider.baseURL, limits, guardMs: GUARD_MS, ...settings.pool },
    },
  }
  const add = async () => {
    const process = new GateProcess()
    processes.push(process)
    await process.open(options)
    return process
  }
  await Promise.all(Array.from({ length: settings.processes ?? 2 }, add))
  await Promise.all(processes.map((process) => process.ready()))
  return { redis, admin, provider, processes, options, add }
}

/** Keeps all of them busy, and waits until the limit is used in full. */
export async function loadFully(fleet: Fleet): Promise<void> {
  await Promise.all(fleet.processes.map((process) => process.load()))
  await fullUse(fleet)
}

/** Resolves when a window's limit was granted in full since then. */
export async function fullUse({ processes }: Fleet, sinceMs = Date.now()): Promise<void> {
  const used = () => {
    const all = processes.flatMap(({ grantedMs }) => grantedMs.filter((atMs) => atMs >= sinceMs))
    const grants = all.sort((a, b) => a - b).map((atMs) => ({ atMs }))
    return worstWindow(grants, WINDOW_MS, one) / LIMIT
  }
  await until(
    'full use',
    () => used() >= FULL,
    () => `most since: ${used()} of the limit`,
  )
}

/** Lets all finish, then: nothing was over a limit as the provider saw it, and every accepted request ended once. */
export async function finishExactly(fleet: Fleet, survivors = fleet.processes): Promise<void> {
  await Promise.all(survivors.map((process) => process.rest()))
  const left = () => survivors.reduce((sum, process) => sum + process.unended, 0)
  await until(
    'all requests to end',
    () => left() === 0,
    () => `${left()} left`,
  )
  for (const { ends } of survivors) expect([...ends.values()].filter((all) => all.join() !== 'completed')).toEqual([])
  expectExact(fleet)
  const ids = new Set(survivors.flatMap(({ accepted }) => [...accepted]))
  const arrived = fleet.provider.log.map(({ id }) => id!).filter((id) => ids.has(id))
  expect(arrived.length, 'requests sent twice, or never').toBe(ids.size)
  expect(new Set(arrived).size).toBe(ids.size)
}

/**
 * The guard covers what an arrival is late by up to itself. On a machine with no processor to spare one may be later:
 * such an arrival counts when the guard ended, as no limiter could have known.
 */
function expectExact({ provider, options, processes }: Fleet): void {
  const { requests, concurrency = 0 } = options.pools.p!.limits as { requests: Rate; concurrency: number }
  const calledMs = new Map(processes.flatMap((process) => [...process.calledMs]))
  const arrivals = provider.log
    .map(({ id, wallMs }) => ({ atMs: Math.min(wallMs, (calledMs.get(id!) ?? wallMs) + GUARD_MS - 1) }))
    .sort((a, b) => a.atMs - b.atMs)
  expect(worstWindow(arrivals, requests.per, one), 'most in a window').toBeLessThanOrEqual(requests.limit)
  expect(Math.max(...provider.log.map(({ inFlight }) => inFlight)), 'most in flight').toBeLessThanOrEqual(concurrency)
}
