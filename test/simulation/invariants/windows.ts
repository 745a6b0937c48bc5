import type { Call } from '../provider.js'
import type { Checker, NewChecker } from '../watch.js'

interface Entry {
  readonly atMs: number
  amount: number
}

/**
 * As the provider sees it: in no window of a limit's length more arrived than the limit. Counted by announced cost; what a
 * call used beyond its announcement is the exception that the design makes.
 */
export const arrivalsFitWindows: NewChecker = (world): Checker => {
  const { limits } = world.groupPlan.spec
  const logs = limits.map(() => ({ entries: [] as Entry[], sum: 0 }))
  const byCall = new Map<Call, Entry[]>()
  const refunds = [...world.config.pools.values()].every(({ provider }) => provider.refundsEstimate)
  return {
    invariant: 1,
    name: 'no window over its limit, by arrivals',
    arrived(call) {
      const nowMs = world.clock.now()
      const mine: Entry[] = []
      for (const index of call.draws) {
        const { windowMs, dimension, limit, id } = limits[index]!
        if (windowMs === 0) continue
        const log = logs[index]!
        while (log.entries[0] && log.entries[0].atMs <= nowMs - windowMs) log.sum -= log.entries.shift()!.amount
        const entry = { atMs: nowMs, amount: dimension === 'tokens' ? call.request.tokens : 1 }
        log.entries.push(entry)
        log.sum += entry.amount
        if (dimension === 'tokens') mine.push(entry)
        if (log.sum > limit)
          world.watchers.violate(`${id}: ${log.sum} of ${limit} in ${windowMs} ms at #${call.request.id}`)
      }
      byCall.set(call, mine)
    },
    counted(call, delta) {
      if (delta >= 0 || !refunds) return
      for (const entry of byCall.get(call) ?? []) {
        entry.amount += delta
        for (const log of logs) if (log.entries.includes(entry)) log.sum += delta
      }
    },
  }
}
