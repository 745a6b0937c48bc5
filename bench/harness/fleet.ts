import { Redis } from 'ioredis'
import { seededRandom } from '../../src/testing/simulator/random.js'
import { FILLED, PEERS } from '../peers/index.js'
import type { Arrival, Call, Peer, PeerJob } from '../peers/peer.js'
import { keepOutstanding } from './load.js'
import type { Bench, Case, Metrics } from './question.js'

/** For all to join; on a busy machine, again with so much more. */
const START_MS = [5_000, 20_000]
const FILL_MS_PER_JOB = 1
const TOO_LATE = 'it joined too late'

/** Wall time, ms since the Unix epoch; weight; how long its call took; how long it had waited. */
export type Start = readonly [atMs: number, weight: number, tookMs: number, waitedMs: number]

export interface Member {
  readonly starts: readonly Start[]
  readonly count: number
  readonly cpuMs: number
}

export interface FleetRun {
  readonly members: readonly Member[]
  readonly redis: { readonly reads: number; readonly cpuUs: number }
  readonly startMs: number
  readonly seconds: number
}

type Work = Omit<PeerJob, 'home' | 'redisPort' | 'index' | 'filled'> & {
  readonly seconds: number
  readonly callMs: number
  /** Whether each start is noted. */
  readonly log: boolean
  /** Weights are uniform in this range; without it all are 1. */
  readonly weights?: readonly [least: number, most: number]
  /** One request at the start and nothing else until so much later: then the backlog. */
  readonly lateMs?: number
  /** When requests come, from the start on, to the processes in turn; without it there is a constant backlog. */
  readonly arrivalsMs?: readonly number[]
}
type MemberJob = Work & PeerJob & { readonly startAtMs: number }

/** Of one peer's requests; the processes' differ. */
const SEED = 1

const wallMs = () => performance.timeOrigin + performance.now()
const until = (atMs: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, atMs - wallMs())))

/** One process of the fleet. */
export async function member(job: MemberJob): Promise<Member> {
  const { peer: name, callMs, log, startAtMs, seconds } = job
  const join = PEERS[name]
  if (!join) throw new Error(`expected a peer of ${Object.keys(PEERS).join(', ')}, got ${name}`)
  const starts: Start[] = []
  let count = 0
  const call: Call = async ({ atMs: cameMs, weight }) => {
    count++
    if (!log) return
    const atMs = wallMs()
    if (callMs > 0) await new Promise((resolve) => setTimeout(resolve, callMs))
    starts.push([atMs, weight, wallMs() - atMs, atMs - cameMs])
  }
  const peer = await join(job, call)
  if (wallMs() > startAtMs) throw new Error(`${name}: ${TOO_LATE}, by ${Math.round(wallMs() - startAtMs)} ms`)
  await until(startAtMs)
  const before = process.cpuUsage()
  peer.start?.()
  produce(peer, job).catch((error) => process.stderr.write(`${name}: ${String(error)}\n`))
  await until(startAtMs + seconds * 1_000)
  const { user, system } = process.cpuUsage(before)
  return { starts, count, cpuMs: (user + system) / 1_000 }
}

/** Hands in what comes to this process, as it comes. */
async function produce(peer: Peer, job: MemberJob): Promise<void> {
  const { peer: name, index, processes, startAtMs, arrivalsMs, lateMs, weights, outstanding } = job
  const random = seededRandom(SEED + index)
  const arrival = (atMs = wallMs()): Arrival => ({
    atMs,
    weight: weights ? weights[0] + Math.floor(random() * (weights[1] - weights[0] + 1)) : 1,
  })
  if (arrivalsMs) {
    for (let i = index; i < arrivalsMs.length; i += processes) {
      const atMs = startAtMs + arrivalsMs[i]!
      if (atMs > wallMs()) await until(atMs)
      void peer.submit(arrival(atMs))
    }
    return
  }
  if (lateMs !== undefined) {
    if (index === 0) void peer.submit(arrival())
    await until(startAtMs + lateMs)
    // Nobody fills a shared queue before the start: that would be a start on time.
    if (FILLED.has(name)) for (let i = index; i < job.jobs; i += processes) void peer.submit(arrival())
  }
  if (FILLED.has(name)) return
  await keepOutstanding(outstanding, () => peer.submit(arrival())).over
}

/** So many processes at the same work, on a Redis of their own. */
export async function runFleet(bench: Bench, work: Work): Promise<FleetRun> {
  for (const joinMs of START_MS.slice(0, -1)) {
    try {
      return await fleet(bench, work, joinMs)
    } catch (error) {
      if (!String(error).includes(TOO_LATE)) throw error
    }
  }
  return fleet(bench, work, START_MS.at(-1)!)
}

async function fleet(bench: Bench, work: Work, joinMs: number): Promise<FleetRun> {
  const home = await bench.peers()
  return bench.withRedis(async (server) => {
    const admin = new Redis(server.port)
    try {
      const filled = FILLED.has(work.peer) && work.lateMs === undefined && !work.arrivalsMs
      const startMs = Date.now() + joinMs + (filled ? work.jobs * FILL_MS_PER_JOB : 0)
      const members = Promise.all(
        Array.from({ length: work.processes }, (_, index) =>
          bench.child<Member>('member', { ...work, filled, home, redisPort: server.port, index, startAtMs: startMs }),
        ),
      )
      const redis = async () => {
        await until(startMs)
        const before = await redisUse(admin)
        await until(startMs + work.seconds * 1_000)
        const after = await redisUse(admin)
        return { reads: after.reads - before.reads, cpuUs: after.cpuUs - before.cpuUs }
      }
      const [use, each] = await Promise.all([redis(), members])
      return { members: each, redis: use, startMs, seconds: work.seconds }
    } finally {
      admin.disconnect()
    }
  })
}

/** Processes of a fleet, where a question does not say otherwise. */
export const PROCESSES = 4

/** Rows of a question, one a peer, all measured alike. */
export const rowOf =
  (measure: (bench: Bench, peer: string, processes: number) => Promise<Metrics>) =>
  (side: Case['side'], peer: string, processes = PROCESSES): Case => ({
    name: peer,
    side,
    run: (bench) => measure(bench, peer, processes),
  })

/** Meaning of what `costs` tells. */
export const COSTS = {
  roundTrips: 'reads of Redis from its clients, a start',
  usOfRedis: 'CPU of Redis, µs a start',
  cpuUs: 'CPU of all processes, µs a start',
}

/** What a start costs, in round trips and CPU. */
export function costs({ members, redis }: FleetRun): Metrics {
  const starts = members.reduce((sum, { count }) => sum + count, 0)
  const cpuMs = members.reduce((sum, its) => sum + its.cpuMs, 0)
  return { roundTrips: redis.reads / starts, usOfRedis: redis.cpuUs / starts, cpuUs: (cpuMs * 1_000) / starts }
}

/**
 * Reads from sockets are what clients sent, pipelined commands once; `commandstats` would count what scripts call as well.
 */
async function redisUse(admin: Redis): Promise<{ reads: number; cpuUs: number }> {
  const text = (await admin.info('stats')) + (await admin.info('cpu'))
  const field = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1])
  return {
    reads: field('total_reads_processed'),
    cpuUs: (field('used_cpu_sys') + field('used_cpu_user')) * 1e6,
  }
}
