import type { LimitUsage } from '../../../src/limits/store.js'
import { MemoryBackend } from '../store-host.js'
import { LEASE_MS } from '../sim-process.js'
import type { Checker, NewChecker } from '../watch.js'
import { WaitingList } from './waiting.js'

/** A round trip, a date up to the horizon ahead, and a timer; or a lost wake-up's healing. */
const PROMPT_MS = 1_500
const HEALING_MS = 4_000
const CALM_MS = 3_000
const LONG_CALM_MS = 15_000
const RE_ENTRY_MS = 2_500

/**
 * Work that could go does not idle: while somebody waits and whoever waits in the group would fit, each by itself, into what
 * is left, the pool's next is granted before long. (Where one has to wait for a limit, what is free of the others may be
 * reserved for it.)
 */
export const capacityIsUsed: NewChecker = (world): Checker => {
  const list = new WaitingList(world)
  const idleSince = new Map<string, number>()
  const gatedMs = new Map<string, number>()
  const { spec, pools } = world.groupPlan
  let learning = false
  let epoch = ''
  let setAsideUntilMs = 0
  const longestMs = Math.max(...spec.limits.map(({ windowMs, holdMs }) => windowMs + holdMs))
  // What a process that is cut off may still spend is nobody else's meanwhile, and counts as spent for a window more.
  const setAside = () => {
    setAsideUntilMs = world.clock.now() + LEASE_MS + world.plan.isolatedMs + longestMs
  }
  const fits = (usage: readonly LimitUsage[], draws: readonly number[], tokens: number) =>
    draws.every((index) => {
      const { used, ceiling } = usage[index]!
      return ceiling - used >= (spec.limits[index]!.dimension === 'tokens' ? tokens : 1)
    })
  const restart = (pool: string) => void idleSince.delete(pool)
  return {
    invariant: 7,
    name: 'eligible work never idles',
    waits: (process, request) => list.join(process, request),
    withdrawn: (process, request) => void list.leave(process, request),
    refused: (process, request) => void list.leave(process, request),
    crashed: (process) => list.forget(process),
    granted(process, request) {
      list.leave(process, request)
      restart(request.pool)
    },
    applied(_exchange, reply) {
      learning = reply.learnUntilMs > 0
      // From when the loss is found, whoever was cut off before may live on its floor.
      if (learning && reply.epoch !== epoch) setAside()
      epoch = reply.epoch
    },
    fault() {
      setAside()
      idleSince.clear()
    },
    sample() {
      if (!(world.backend instanceof MemoryBackend)) return
      const nowMs = world.clock.now()
      const sinceTroubleMs = nowMs - world.troubledMs
      const aside = world.plan.isolatedMs > 0 && nowMs < setAsideUntilMs
      if (!world.calm || learning || aside || sinceTroubleMs < CALM_MS) {
        idleSince.clear()
        return
      }
      const patienceMs = sinceTroubleMs > LONG_CALM_MS ? PROMPT_MS : HEALING_MS
      const usage = world.backend.usage(spec, world.storeMs)
      // What is free may be reserved for one who waits for something else: only where nobody does is it idle.
      const fitsAll = [...list.all.values()].every(({ request: { pool, tenant, tokens } }) =>
        fits(usage.limits, pools.find(({ name }) => name === pool)!.draws(tenant), tokens),
      )
      for (const pool of pools) {
        if ((usage.pausedUntilMs[pool.name] ?? 0) > usage.nowMs) gatedMs.set(pool.name, nowMs)
        const waiting = [...list.all.values()].find(({ request }) => request.pool === pool.name)
        const gated = nowMs - (gatedMs.get(pool.name) ?? Number.NEGATIVE_INFINITY) < RE_ENTRY_MS
        if (!waiting || gated || !fitsAll) {
          restart(pool.name)
          continue
        }
        const since = idleSince.get(pool.name)
        if (since === undefined) idleSince.set(pool.name, nowMs)
        else if (nowMs - since > patienceMs) {
          const { process, request } = waiting
          world.watchers.violate(
            `${pool.name} has room, yet #${request.id} of ${process.name} waits, for ${Math.round(nowMs - since)} ms`,
          )
          restart(pool.name)
        }
      }
    },
  }
}
