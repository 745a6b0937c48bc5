import type { Grant } from '../../../src/dispatch/grant.js'
import { HORIZON_MS } from '../../../src/limits/store.js'
import { bucketOf, bucketWidthMs } from '../../../src/limits/window.js'
import type { Checker, NewChecker } from '../watch.js'

/**
 * Every grant ends exactly once: each that was handed out is settled, once; and no process gives more of a bucket back
 * than it was given there, whatever is repeated, lost or late.
 */
export const grantsEndOnce: NewChecker = (world): Checker => {
  const { limits } = world.groupPlan.spec
  const ends = new Map<Grant, number>()
  const holders = new Map<Grant, string>()
  const given = new Map<string, number>()
  /** Repeats are answered from memory, under the same version. */
  const seen = new Set<string>()
  const drawsOf = new Map<string, readonly number[]>()
  const rateDraws = (key: string): readonly number[] => {
    let draws = drawsOf.get(key)
    if (!draws) {
      const [pool, tenant = ''] = key.split('|')
      const plan = world.groupPlan.pools.find(({ name }) => name === pool)!
      draws = plan.draws(tenant).filter((index) => limits[index]!.windowMs > 0)
      drawsOf.set(key, draws)
    }
    return draws
  }
  const give = (process: string, key: string, atMs: number, tokens: number) => {
    for (const index of rateDraws(key)) {
      const { windowMs, dimension } = limits[index]!
      const name = `${process}:${index}:${bucketOf(atMs, bucketWidthMs(windowMs))}`
      given.set(name, (given.get(name) ?? 0) + (dimension === 'tokens' ? tokens : 1))
    }
  }
  /** What was granted before the state was lost may be granted, or given back, again: the store has forgotten it. */
  let untrackedMs = 0
  return {
    invariant: 4,
    name: 'every grant ends exactly once',
    fault({ kind }) {
      if (kind === 'failover' || kind === 'flush') untrackedMs = world.storeMs + HORIZON_MS
    },
    granted(process, _request, grant) {
      ends.set(grant, 0)
      holders.set(grant, process.name)
      if (grant.isolated) give(process.name, grant.flowKey, grant.notBeforeMs, grant.tokens)
    },
    settled(_process, { id }, grant) {
      const count = ends.get(grant)
      if (count === undefined) world.watchers.violate(`a grant that nobody was handed was settled for #${id}`)
      else if (count > 0) world.watchers.violate(`the grant of #${id} was settled twice`)
      ends.set(grant, 1)
    },
    applied(exchange, reply) {
      const name = `${reply.epoch}:${reply.version}:${untrackedMs}`
      if (reply.fenced || seen.has(name)) return
      seen.add(name)
      const process = exchange.processId.slice(0, exchange.processId.lastIndexOf('.'))
      // A journal of a former epoch holds all corrections: the store passes over those that come with it.
      const replayed = exchange.journal !== null && exchange.knownEpoch !== reply.epoch
      for (const [index, bucket, delta] of replayed ? [] : exchange.adjustments) {
        if (delta >= 0 || bucket * bucketWidthMs(limits[index]!.windowMs) <= untrackedMs) continue
        const place = `${process}:${index}:${bucket}`
        const left = (given.get(place) ?? 0) + delta
        given.set(place, left)
        if (left < 0)
          world.watchers.violate(`${process} gave ${-left} more back to ${limits[index]!.id} than it was given`)
      }
      for (const [key, ...dated] of reply.grants) {
        for (let at = 0; at < dated.length; at += 2) give(process, key, dated[at]!, dated[at + 1]!)
      }
    },
    atRest() {
      const alive = new Set(world.processes.filter((process) => process.alive).map(({ name }) => name))
      for (const [grant, count] of ends) {
        if (count === 0 && alive.has(holders.get(grant)!)) world.watchers.violate(`grant ${grant.number} never ended`)
      }
    },
  }
}
