import { Redis } from 'ioredis'
import { MemoryGroup } from '../../src/limits/memory-group.js'
import { MemoryStore } from '../../src/limits/memory-store.js'
import { RedisConnection, RedisStore } from '../../src/limits/redis-store.js'
import type { Dimension, GroupSpec, GroupStore, LimitSpec } from '../../src/limits/store.js'
import { type RedisServer, startRedisServer } from '../../src/testing/redis-server.js'

/** Where time stands for the store under test. */
export interface Instant {
  nowMs: number
}

export interface Audit {
  /** Running sum and live buckets of each rate limit on which anything is spent. */
  readonly rates: readonly { id: string; sum: number; bucketSum: number }[]
  /** Slots as counted, and as held by all members together. */
  readonly counted: Record<string, number>
  readonly held: Record<string, number>
}

/** A store of one kind, fresh for each test, with time in the test's hands. */
export interface StoreWorld {
  readonly instant: Instant
  /** A handle of one more process. */
  open(spec: GroupSpec): Promise<GroupStore>
  /** The store loses everything; who listens goes on listening. */
  lose(): Promise<void>
  /** Another server answers from now on; nothing it should know is missing. */
  failOver(): void
  audit(): Promise<Audit>
  /** All that Redis keeps, and what of it would never go by itself; none in memory. */
  keys(): Promise<{ readonly all: string[]; readonly immortal: string[] }>
  /** Closes all handles. */
  end(): Promise<void>
}

export interface StoreKind {
  readonly name: string
  start(): Promise<void>
  stop(): Promise<void>
  fresh(): Promise<StoreWorld>
}

const START_MS = 1_700_000_000_000
export const HOLD_MS = 200
const PREFIX = '{test:g}:'

export function memoryKind(): StoreKind {
  return {
    name: 'memory',
    start: async () => {},
    stop: async () => {},
    fresh: async () => {
      const instant = { nowMs: START_MS }
      let servers = 1
      const group = new (class extends MemoryGroup {
        override exchange(...[spec, exchange, rawMs]: Parameters<MemoryGroup['exchange']>) {
          return super.exchange(spec, exchange, rawMs, `s${servers}`)
        }
      })()
      const clock = { now: () => instant.nowMs, wallMs: () => instant.nowMs, setTimeout: () => 0, clearTimeout() {} }
      const stores: GroupStore[] = []
      return {
        instant,
        open: async (spec) => {
          const store = new MemoryStore(spec, clock, group)
          stores.push(store)
          return store
        },
        lose: async () => group.lose(),
        failOver: () => {
          servers++
        },
        audit: async () => {
          const { counted, held } = group.auditSlots()
          const rates = group.audit().map(({ id, sum, bucketSum }) => ({ id, sum, bucketSum }))
          return { rates, counted: Object.fromEntries(counted), held: withoutZeros(Object.fromEntries(held)) }
        },
        keys: async () => ({ all: [], immortal: [] }),
        end: async () => {
          for (const store of stores) await store.close()
        },
      }
    },
  }
}

export function redisKind(): StoreKind {
  let server: RedisServer
  let client: Redis
  /** Each process has a connection of its own, as it has in a fleet: Redis counts who listens. */
  const idle: RedisConnection[] = []
  const all: RedisConnection[] = []
  const connect = async () => {
    const known = idle.pop()
    if (known) return known
    const connection = new RedisConnection(client)
    all.push(connection)
    connection.open()
    return connection
  }
  return {
    name: 'Redis',
    start: async () => {
      server = await startRedisServer()
      client = new Redis(server.url)
    },
    stop: async () => {
      for (const connection of all) connection.close()
      client.disconnect()
      await server.stop()
    },
    fresh: async () => {
      await client.flushall()
      const instant = { nowMs: START_MS }
      let servers = 1
      const opened: { store: GroupStore; connection: RedisConnection }[] = []
      return {
        instant,
        open: async (spec) => {
          const connection = await connect()
          const store = new RedisStore(
            spec,
            connection,
            () => instant.nowMs,
            () => `s${servers}`,
          )
          opened.push({ store, connection })
          return store
        },
        lose: async () => {
          await client.flushall()
        },
        failOver: () => {
          servers++
        },
        audit: async () => auditRedis(client),
        keys: async () => {
          const keys = await client.keys('*')
          const ttls = await Promise.all(keys.map((key) => client.pttl(key)))
          return { all: keys, immortal: keys.filter((_, index) => ttls[index]! < 0) }
        },
        end: async () => {
          for (const { store, connection } of opened) {
            await store.close()
            idle.push(connection)
          }
        },
      }
    },
  }
}

const AUDIT_SCRIPT = `
local core = redis.call('GET', KEYS[1])
if not core then return '[[],[],[]]' end
local its = { cmsgpack.unpack(core) }
local base, C = string.sub(KEYS[1], 1, -5) .. its[1] .. ':', its[13]
local rates, counted, held = {}, {}, {}
for p = 0, #C - 13, 13 do
  if C[p + 4] >= 0 then
    local flat, sum = redis.call('HGETALL', base .. 'b:' .. C[p + 1]), 0
    for i = 1, #flat, 2 do
      for cell, amount in ipairs({ cmsgpack.unpack(flat[i + 1]) }) do
        if flat[i] * 16 + cell - 1 >= C[p + 3] then sum = sum + amount end
      end
    end
    rates[#rates + 1] = { C[p + 1], C[p + 2], sum }
  end
  if C[p + 5] ~= 0 then counted[#counted + 1] = { C[p + 1], C[p + 5] } end
end
local procs = redis.call('HVALS', base .. 'procs')
for i = 1, #procs do
  local slots = ({ cmsgpack.unpack(procs[i]) })[11]
  for j = 1, #slots, 2 do held[#held + 1] = { slots[j], slots[j + 1] } end
end
return cjson.encode({ rates, counted, held })`

async function auditRedis(client: Redis): Promise<Audit> {
  const text = (await client.eval(AUDIT_SCRIPT, 1, `${PREFIX}core`)) as string
  const [rates, counted, slots] = JSON.parse(text) as [
    [string, number, number][],
    [string, number][],
    [string, number][],
  ]
  const list = <T>(rows: T[]) => (Array.isArray(rows) ? rows : [])
  const held: Record<string, number> = {}
  for (const [id, count] of list(slots)) held[id] = (held[id] ?? 0) + count
  return {
    rates: list(rates).map(([id, sum, bucketSum]) => ({ id, sum, bucketSum })),
    counted: Object.fromEntries(list(counted)),
    held: withoutZeros(held),
  }
}

function withoutZeros(counts: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0))
}

export function rate(id: string, limit: number, windowMs: number, dimension: Dimension = 'requests'): LimitSpec {
  return { id, dimension, limit, windowMs, holdMs: HOLD_MS, adaptive: false }
}

export function slots(id: string, limit: number): LimitSpec {
  return { id, dimension: 'concurrency', limit, windowMs: 0, holdMs: HOLD_MS, adaptive: true }
}

/** Two pools that draw on all of these limits. */
export function groupOf(...limits: LimitSpec[]): GroupSpec {
  const draws = limits.map((_, index) => index)
  return { namespace: 'test', group: 'g', pools: ['p0', 'p1'], limits, draws: [draws, draws] }
}
