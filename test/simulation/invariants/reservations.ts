import { FairTree } from '../../../src/limits/fair-tree.js'
import { MemoryBackend } from '../store-host.js'
import type { Checker, NewChecker } from '../watch.js'

/** Grants by mail show in no reply: the tree is watched as it serves. */
let served = 0
const { serve } = FairTree.prototype
FairTree.prototype.serve = function (...its: Parameters<typeof serve>) {
  served++
  serve.apply(this, its)
}

/**
 * The date of who is first in a pool's line never moves back because others come: between two looks of the store
 * without a grant in the pool or anything that may move it (a cool-down, a cut, a lowered limit, debt, a waiter that left, trouble),
 * it stands.
 */
export const datesDoNotSlip: NewChecker = (world): Checker => {
  const fronts = new Map<number, number>()
  const { pools } = world.groupPlan.spec
  const forget = () => fronts.clear()
  const counts = new Map<string, number>()
  let servedBefore = 0
  return {
    invariant: 9,
    name: 'a dated reservation never slips',
    fault: forget,
    crashed: forget,
    withdrawn: forget,
    refused: forget,
    controlled: forget,
    applied(exchange, reply) {
      if (!(world.backend instanceof MemoryBackend)) return
      const moved =
        exchange.cuts.length > 0 ||
        exchange.coolDowns.length > 0 ||
        exchange.observed.length > 0 ||
        exchange.seq <= 1 ||
        reply.fenced ||
        reply.restate ||
        exchange.adjustments.some(([, , delta]) => delta > 0)
      // Fewer than before: somebody was granted by mail, or left.
      const fewer = exchange.flows.some((flow) => {
        const id = `${exchange.processId}|${flow.key}`
        const before = counts.get(id) ?? 0
        counts.set(id, flow.count)
        return flow.count < before
      })
      if (moved || fewer || served !== servedBefore) forget()
      servedBefore = served
      const now = new Map(reply.queues.map(([pool, frontAtMs]) => [pool, frontAtMs]))
      for (const [pool, before] of fronts) {
        const after = now.get(pool)
        if (after === undefined || after === 0 || before <= reply.nowMs || after <= before) continue
        world.watchers.violate(`${pools[pool]}: the first in line was due at ${before}, now at ${after}`)
      }
      fronts.clear()
      if (world.calm) for (const [pool, frontAtMs] of now) if (frontAtMs > 0) fronts.set(pool, frontAtMs)
    },
  }
}
