import { LEASE_MS } from '../sim-process.js'
import type { Call } from '../provider.js'
import type { Checker, NewChecker } from '../watch.js'

/**
 * At every arrival no more calls are in flight than the limit. A crashed process's calls are over at its crash, unless
 * slots are held until the calls' deadlines (beyond which a paused process can't end them). Where they are not, calls of a process that the store gave up (its lease
 * ended while it was paused or cut off) no longer count: that is what the shorter lease costs.
 */
export const slotsFit: NewChecker = (world): Checker => {
  const { limits } = world.groupPlan.spec
  const lastAppliedMs = new Map<string, number>()
  const exempt = new WeakSet<Call>()
  const isGivenUp = (call: Call) => {
    const nowMs = world.clock.now()
    if (nowMs - (lastAppliedMs.get(call.process) ?? 0) < LEASE_MS) return false
    return !world.holds || nowMs - call.sentMs > world.poolConfig(call.request.pool).callTimeoutMs
  }
  return {
    invariant: 2,
    name: 'in flight ≤ concurrency',
    applied({ processId, seq }) {
      if (seq > 0) lastAppliedMs.set(processId.slice(0, processId.lastIndexOf('.')), world.clock.now())
    },
    arrived(call, refused) {
      if (refused) return
      for (const index of call.draws) {
        const { windowMs, limit, id } = limits[index]!
        if (windowMs !== 0) continue
        let running = 1
        for (const other of world.provider.inFlight) {
          if (other === call || !other.draws.includes(index)) continue
          if (isGivenUp(other)) exempt.add(other)
          if (!exempt.has(other)) running++
        }
        if (running > limit) world.watchers.violate(`${id}: ${running} of ${limit} in flight at #${call.request.id}`)
      }
    },
  }
}
