import { randomUUID } from 'node:crypto'
import type { ResolvedConfig } from './config.js'
import type { HeadgateError } from './errors.js'
import { planGroups } from './limits/plan.js'
import { RedisHealth } from './limits/redis-health.js'
import { RedisConnection, RedisStore } from './limits/redis-store.js'
import type { GroupSpec, GroupUsage } from './limits/store.js'
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
}

/** Looks at a fleet in Redis without being part of it: it joins nothing, holds nothing and is never waited for. */
export interface FleetObserver {
  readonly health: RedisHealth
  /** Names of the groups that this config makes. */
  readonly groups: readonly string[]
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
    async usage() {
      const all = await usages()
      return plans.map(({ spec }, index) => ({ spec, usage: all[index]! }))
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
