import { Redis } from 'ioredis'
import { MemoryGroup } from '../../src/limits/memory-group.js'
import { MemoryStore } from '../../src/limits/memory-store.js'
import { RedisConnection, RedisStore } from '../../src/limits/redis-store.js'
import type {
  Charge,
  Exchange,
  ExchangeReply,
  GroupSpec,
  GroupStore,
  LimitSpec,
  Settlement,
} from '../../src/limits/store.js'
import { startRedisServer } from '../../src/testing/redis-server.js'

/** Where time stands for the store under test. */
export interface Instant {
  nowMs: number
}

/** A store of one kind, fresh for each test, with time in the test's hands. */
export interface StoreWorld {
  readonly instant: Instant
  open(spec: GroupSpec): GroupStore
  /** Running sum and live buckets of each rate limit. */
  audit(spec: GroupSpec): Promise<{ id: string; sum: number; bucketSum: number }[]>
}

export interface StoreKind {
  readonly name: string
  start(): Promise<void>
  stop(): Promise<void>
  fresh(): Promise<StoreWorld>
}

/** Leases are the matter of their own tests. */
const LONG_LEASE_MS = 100_000_000
const START_MS = 1_700_000_000_000

export function memoryKind(): StoreKind {
  return {
    name: 'memory',
    start: async () => {},
    stop: async () => {},
    fresh: async () => {
      const instant = { nowMs: START_MS }
      const group = new MemoryGroup()
      const clock = { now: () => instant.nowMs, wallMs: () => instant.nowMs, setTimeout: () => 0, clearTimeout() {} }
      return { instant, open: (spec) => new MemoryStore(spec, clock, group), audit: async () => group.audit() }
    },
  }
}

export function redisKind(): StoreKind {
  let server: Awaited<ReturnType<typeof startRedisServer>>
  let client: Redis
  let connection: RedisConnection
  return {
    name: 'Redis',
    start: async () => {
      server = await startRedisServer()
      client = new Redis(server.url)
      connection = new RedisConnection(client)
    },
    stop: async () => {
      connection.close()
      client.disconnect()
      await server.stop()
    },
    fresh: async () => {
      await client.flushall()
      const instant = { nowMs: START_MS }
      return {
        instant,
        open: (spec) => new RedisStore(spec, connection, () => instant.nowMs),
        audit: (spec) => auditRedis(client, spec),
      }
    },
  }
}

async function auditRedis(client: Redis, spec: GroupSpec): Promise<{ id: string; sum: number; bucketSum: number }[]> {
  const rows = []
  for (const { id, windowMs } of spec.limits) {
    if (windowMs === 0) continue
    const prefix = `{${spec.namespace}:${spec.group}}:`
    const { s = '0', l: _, ...buckets } = await client.hgetall(`${prefix}b:${id}`)
    const listed = await client.lrange(`${prefix}q:${id}`, 0, -1)
    const bucketSum = listed.reduce((total, bucket) => total + Number(buckets[bucket] ?? Number.NaN), 0)
    rows.push({ id, sum: Number(s), bucketSum })
  }
  return rows
}

export function rate(id: string, limit: number, windowMs: number, holdMs = 200): LimitSpec {
  return { id, limit, windowMs, holdMs, adaptive: false }
}

export function slots(id: string, limit: number): LimitSpec {
  return { id, limit, windowMs: 0, holdMs: 0, adaptive: true }
}

export function groupOf(...limits: LimitSpec[]): GroupSpec {
  return { namespace: 'test', group: 'g', pools: ['p0', 'p1'], limits }
}

interface Held {
  readonly grant: number
  readonly charges: readonly Charge[]
  readonly buckets: readonly number[]
  readonly grantedAtMs: number
}

interface Ask {
  charges: readonly Charge[]
  flow?: number
  pool?: number
  sinceMs?: number
}

/** One process as the store sees it: numbers its batches and remembers what it holds. */
export class Member {
  readonly held = new Map<number, Held>()
  epoch = ''
  seq = 0
  #grant = 0
  last: Exchange | undefined

  constructor(
    readonly store: GroupStore,
    public id: string,
    readonly instant: Instant,
    readonly spec: GroupSpec,
  ) {}

  async ask(asks: Ask[], settlements: Settlement[] = [], more: Partial<Exchange> = {}): Promise<ExchangeReply> {
    const waiters = asks.map((ask) => ({
      grant: ++this.#grant,
      pool: ask.pool ?? 0,
      flow: ask.flow ?? 0,
      sinceMs: ask.sinceMs ?? this.instant.nowMs,
      charges: ask.charges,
    }))
    this.last = {
      processId: this.id,
      seq: ++this.seq,
      leaseMs: LONG_LEASE_MS,
      holdUntilMs: 0,
      knownEpoch: this.epoch,
      candidateEpoch: 'e1',
      distrust: false,
      adoptions: [],
      settlements,
      waiters,
      ...more,
    }
    const reply = await this.store.exchange(this.last)
    if (!reply.fenced) this.epoch = reply.epoch
    for (const { grant, buckets } of reply.grants) {
      const { charges } = waiters.find((waiter) => waiter.grant === grant)!
      this.held.set(grant, { grant, charges, buckets, grantedAtMs: reply.nowMs })
    }
    return reply
  }

  /** Sends the last batch again, as after a lost reply. */
  repeat(): Promise<ExchangeReply> {
    return this.store.exchange(this.last!)
  }

  /** The settlement of a held grant; `delta` corrects each rate charge, `refund` gives all of it back. */
  settlement(grant: number, more: Partial<Settlement> & { delta?: number; refund?: boolean } = {}): Settlement {
    const { delta = 0, refund = false, ...rest } = more
    const held = this.held.get(grant)!
    const isSlot = (index: number) => this.spec.limits[index]!.windowMs === 0
    const adjustments = held.charges.flatMap(([index, cost], i) => {
      // Nobody can use less than nothing.
      const by = refund ? -cost : Math.max(-cost, delta)
      return isSlot(index) || by === 0 ? [] : [[index, held.buckets[i]!, by] as const]
    })
    const settlement = {
      grant,
      adjustments,
      slots: held.charges.filter(([index]) => isSlot(index)).map(([index]) => index),
      cuts: [],
      grantedAtMs: held.grantedAtMs,
      coolDownMs: 0,
      pool: 0,
      ...rest,
    }
    this.held.delete(grant)
    return settlement
  }
}
