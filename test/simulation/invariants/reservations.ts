import { MemoryBackend } from '../store-host.js'
import type { Checker, NewChecker } from '../watch.js'

interface Promised {
  readonly sinceMs: number
  readonly count: number
  readonly tokens: number
  readonly fitsAtMs: number
  readonly allowed: number
}

/**
 * Who is first in a pool's line fits no later because of what is granted to others: as long as it stands there with the same
 * cost, its date moves back only by a cool-down, a limit that moved, debt, or trouble.
 */
export const datesDoNotSlip: NewChecker = (world): Checker => {
  const promised = new Map<string, Promised>()
  const { spec } = world.groupPlan
  const forget = () => promised.clear()
  return {
    invariant: 9,
    name: 'a dated reservation never slips',
    fault: forget,
    crashed: forget,
    controlled: forget,
    applied(exchange, reply) {
      if (!(world.backend instanceof MemoryBackend)) return
      const isExcused =
        exchange.cuts.length > 0 ||
        exchange.observed.length > 0 ||
        exchange.seq <= 1 ||
        exchange.leave ||
        reply.fenced ||
        reply.learnUntilMs > 0 ||
        exchange.adjustments.some(([, , delta]) => delta > 0)
      if (isExcused) forget()
      const now = new Map<string, Promised>()
      const taken = new Set<string>()
      for (const { pool, flow, draws, ...front } of world.backend.group.auditFronts(spec, reply.nowMs)) {
        // Who shares a limit with one that was promised a date before waits for that one too.
        if (draws.every((id) => !taken.has(id))) now.set(`${pool} ${flow}`, front)
        for (const id of draws) taken.add(id)
      }
      for (const [key, before] of promised) {
        const { sinceMs, count, tokens, fitsAtMs, allowed } = now.get(key) ?? before
        // With fewer waiters it was served, and another of its flow is first since.
        const isSame =
          sinceMs === before.sinceMs && count >= before.count && tokens === before.tokens && allowed === before.allowed
        if (
          !isSame ||
          !Number.isFinite(fitsAtMs + before.fitsAtMs) ||
          fitsAtMs <= Math.max(before.fitsAtMs, reply.nowMs)
        )
          continue
        world.watchers.violate(
          `${key}, first in line, fitted at ${before.fitsAtMs}, now (${reply.nowMs}) at ${fitsAtMs}`,
        )
      }
      promised.clear()
      for (const [key, front] of now) promised.set(key, front)
    },
  }
}
