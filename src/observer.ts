import type { ResolvedConfig } from './config.js'
import { planGroups } from './limits/plan.js'
import { RedisHealth } from './limits/redis-health.js'
import { RedisConnection, RedisStore } from './limits/redis-store.js'
import type { GroupSpec, GroupUsage } from './limits/store.js'

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
  close(): void
}

/** Undefined where the config names no Redis: nobody else's memory can be read. */
export function observeFleet(config: ResolvedConfig): FleetObserver | undefined {
  if (config.redis === undefined) return undefined
  const connection = new RedisConnection(config.redis)
  const stores = planGroups(config).map(({ spec }) => ({ spec, store: new RedisStore(spec, connection) }))
  return {
    health: new RedisHealth(connection),
    groups: stores.map(({ spec }) => spec.group),
    usage: () => Promise.all(stores.map(async ({ spec, store }) => ({ spec, usage: await store.usage() }))),
    close: () => connection.close(),
  }
}
