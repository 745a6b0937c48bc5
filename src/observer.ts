import { randomUUID } from 'node:crypto'
import type { ResolvedConfig } from './config.js'
import type { HeadgateError } from './errors.js'
import { kindIn, kindOf } from './limits/kind.js'
import { planGroups } from './limits/plan.js'
import { RedisHealth } from './limits/redis-health.js'
import { RedisConnection, RedisStore } from './limits/redis-store.js'
import { type Exchange, type GroupSpec, type GroupUsage, NO_NEWS } from './limits/store.js'
import type { MonitoringStats } from './monitoring.js'
import { RedisAlertBook } from './observe/alerts/alert-book.js'
import { alertsOf } from './observe/alerts/alerts.js'
import { FleetBook } from './observe/monitoring/fleet-book.js'
import { operationsOf } from './observe/monitoring/operation.js'
import { fleetState, poolsOf, processesOf, totalsOf } from './observe/monitoring/report.js'

/** One group's limits as configured here, and what the fleet has made of them. */
export interface ObservedGroup {
  readonly spec: GroupSpec
  readonly usage: GroupUsage
  /** Processes that keep other limits under this group than this config says. */
  readonly configuredOtherwise: number
}

/** Looks at a fleet in Redis without being part of it: it joins nothing, holds nothing and is never waited for. */
export interface FleetObserver {
  readonly health: RedisHealth
  /** Names of the groups that this config makes. */
  readonly groups: readonly string[]
  /** Has Redis compile each script that a gate sends, as it is. Rejects with what Redis said; leaves nothing behind. */
  tryScripts(): Promise<void>
  /** One round trip a group. Rejects with STORE_UNAVAILABLE. */
  usage(): Promise<readonly ObservedGroup[]>
  /** As a gate of this fleet would tell it. Rejects with STORE_UNAVAILABLE. */
  stats(): Promise<MonitoringStats>
  /** The error that a failed connection is worth. */
  unavailable(cause: unknown): HeadgateError
  close(): Promise<void>
}

/** Undefined where the config names no Redis: nobody else's memory can be read. */
export function observeFleet(config: ResolvedConfig): FleetObserver | undefined {
  if (config.redis === undefined) return undefined
  const { namespace } = config
  const connection = new RedisConnection(config.redis)
  const plans = planGroups(config)
  const stores = plans.map(({ spec }) => new RedisStore(spec, connection))
  const alertBook = new RedisAlertBook(connection, namespace, randomUUID())
  const usages = () => Promise.all(stores.map((store) => store.usage()))
  let book: FleetBook | undefined
  return {
    health: new RedisHealth(connection),
    groups: plans.map(({ spec }) => spec.group),
    tryScripts: () => tryScripts(connection, namespace),
    async usage() {
      const all = await usages()
      return plans.map(({ spec }, index) => {
        const usage = all[index]!
        const kind = kindOf(spec)
        const others = Object.keys(usage.processes).filter((id) => kindIn(id) !== kind)
        return { spec, usage, configuredOtherwise: others.length }
      })
    },
    async stats() {
      // It hears the questions that it asks itself, and has nothing to write.
      book ??= new FleetBook(connection, namespace, randomUUID(), async () => true)
      await book.gather()
      const [fleet, usage, standings] = await Promise.all([book.read(), usages(), alertBook.read()])
      const state = fleetState(fleet.members)
      return {
        generatedAt: new Date(fleet.nowMs).toISOString(),
        namespace,
        store: 'redis',
        scope: 'fleet',
        ...(state && { state }),
        isolated: false,
        processes: processesOf(fleet.members),
        totals: totalsOf(fleet.totals.values()),
        pools: poolsOf(fleet, config.pools.keys(), operationsOf(plans, usage)),
        alerts: alertsOf(standings, fleet.nowMs),
      }
    },
    unavailable: (cause) => connection.unavailable(cause),
    async close() {
      await book?.close()
      connection.close()
    },
  }
}

const TRIAL_TTL_MS = 60_000

/** Asks for each where its first read finds what is no text: compiled by then, and nothing written. */
async function tryScripts(connection: RedisConnection, namespace: string): Promise<void> {
  const spec: GroupSpec = { namespace, group: `doctor-${randomUUID()}`, pools: [], limits: [], draws: [] }
  const key = `{${namespace}:${spec.group}}:core`
  const { commands } = connection
  const store = new RedisStore(spec, connection)
  try {
    await commands.rpush(key, '')
    await commands.pexpire(key, TRIAL_TTL_MS)
    const asks = [store.usage(), store.control({ type: 'pause', pool: '' }), store.exchange(NO_EXCHANGE)]
    for (const { status, reason } of (await Promise.allSettled(asks)) as PromiseRejectedResult[]) {
      if (status !== 'rejected') throw new Error('a script read what it could not')
      if (!/WRONGTYPE/.test(String(reason))) throw reason
    }
  } finally {
    await store.close()
    await commands.unlink(key)
  }
}

/** Of a process that asks for nothing. */
const NO_EXCHANGE: Exchange = {
  processId: 'doctor.1',
  seq: 0,
  leaseMs: 0,
  holdUntilMs: 0,
  isolatedMs: 0,
  knownEpoch: '',
  knownVersion: 0,
  candidateEpoch: '0-doctor',
  distrust: false,
  held: [],
  floors: [],
  journal: null,
  ...NO_NEWS,
  flows: [],
  leave: false,
}
