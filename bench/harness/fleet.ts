import { Redis } from 'ioredis'
import { FILLED, PEERS } from '../peers/index.js'
import type { PeerJob } from '../peers/peer.js'
import type { Bench, Metrics } from './question.js'

const START_MS = 3_000
const FILL_MS_PER_JOB = 0.5

export interface Member {
  /** Wall time of each start, ms since the Unix epoch, and how long its call took. */
  readonly starts: readonly (readonly [atMs: number, tookMs: number])[]
  readonly count: number
  readonly cpuMs: number
}

export interface FleetRun {
  readonly members: readonly Member[]
  readonly redis: { readonly reads: number; readonly cpuUs: number }
  readonly startMs: number
  readonly seconds: number
}

type Work = Omit<PeerJob, 'home' | 'redisPort' | 'index'> & {
  readonly seconds: number
  readonly callMs: number
  /** Whether each start is noted. */
  readonly log: boolean
}
type MemberJob = Work & PeerJob & { readonly startAtMs: number }

const wallMs = () => performance.timeOrigin + performance.now()
const until = (atMs: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, atMs - wallMs())))

/** One process of the fleet. */
export async function member(job: MemberJob): Promise<Member> {
  const { peer: name, callMs, log, startAtMs, seconds } = job
  const join = PEERS[name]
  if (!join) throw new Error(`expected a peer of ${Object.keys(PEERS).join(', ')}, got ${name}`)
  const peer = await join(job)
  if (wallMs() > startAtMs) throw new Error(`${name}: it joined ${Math.round(wallMs() - startAtMs)} ms too late`)
  await until(startAtMs)
  const starts: [number, number][] = []
  let count = 0
  const before = process.cpuUsage()
  peer.start(async () => {
    count++
    if (!log) return
    const atMs = wallMs()
    if (callMs > 0) await new Promise((resolve) => setTimeout(resolve, callMs))
    starts.push([atMs, wallMs() - atMs])
  })
  await until(startAtMs + seconds * 1_000)
  const { user, system } = process.cpuUsage(before)
  return { starts, count, cpuMs: (user + system) / 1_000 }
}

/** So many processes at the same work, on a Redis of their own. */
export async function runFleet(bench: Bench, work: Work): Promise<FleetRun> {
  const home = await bench.peers()
  return bench.withRedis(async (server) => {
    const admin = new Redis(server.port)
    try {
      const startMs = Date.now() + START_MS + (FILLED.has(work.peer) ? work.jobs * FILL_MS_PER_JOB : 0)
      const members = Promise.all(
        Array.from({ length: work.processes }, (_, index) =>
          bench.child<Member>('member', { ...work, home, redisPort: server.port, index, startAtMs: startMs }),
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
