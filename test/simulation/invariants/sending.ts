import type { Grant } from '../../../src/dispatch/grant.js'
import type { ExchangeReply } from '../../../src/limits/store.js'
import type { SimProcess } from '../sim-process.js'
import type { Checker, NewChecker } from '../watch.js'

/** A cool-down that a process was told of: its end in store time, and in real time. */
interface Told {
  readonly untilMs: number
  readonly endsAtMs: number
}

/** Nothing goes out after `sendBy`, on an epoch its process knows to be over, or in a cool-down it knows of. */
export const sendsAreInTime: NewChecker = (world): Checker => {
  const epochs = new Map<SimProcess, string>()
  const grantedIn = new WeakMap<Grant, string>()
  /** What each process was told, and what it found out itself, by pool. */
  const told = new Map<SimProcess, ReadonlyMap<number, Told>>()
  const own = new Map<SimProcess, Map<number, number>>()
  const { pools } = world.groupPlan.spec
  const appliedAtMs = new Map<string, number>()
  const keyOf = ({ epoch, version }: ExchangeReply) => `${epoch}:${version}`
  /** How far the store's clock was ahead when a process last heard of it: of a step since then it can't know. */
  const aheadMs = new Map<SimProcess, number>()
  const storeMsOf = (process: SimProcess) => world.clock.now() + (aheadMs.get(process) ?? 0)
  return {
    invariant: 5,
    name: 'nothing is sent late, on an old epoch or in a cool-down',
    fault({ kind }) {
      // What is left of the store counts its versions from an earlier one.
      if (kind === 'failover') appliedAtMs.clear()
    },
    applied(_exchange, reply) {
      if (!appliedAtMs.has(keyOf(reply))) appliedAtMs.set(keyOf(reply), world.clock.now())
    },
    replied(process, { seq }, reply) {
      aheadMs.set(process, reply.nowMs - (appliedAtMs.get(keyOf(reply)) ?? world.clock.now()))
      if (seq > 0) epochs.set(process, reply.epoch)
      const before = told.get(process)
      const coolDowns = reply.coolDowns.map(([pool, untilMs]) => {
        const known = before?.get(pool)
        const endsAtMs = untilMs - (aheadMs.get(process) ?? 0)
        // A store whose clock stepped back tells of the same one as if it lasted longer: the provider's did not.
        const isSame = known?.untilMs === untilMs
        return [pool, { untilMs, endsAtMs: isSame ? Math.min(known.endsAtMs, endsAtMs) : endsAtMs }] as const
      })
      told.set(process, new Map(coolDowns))
    },
    controlled(change) {
      if (change.type === 'resume') for (const known of own.values()) known.delete(pools.indexOf(change.pool))
    },
    settled(process, _request, grant, end) {
      if (!end.coolDownMs) return
      const known = own.get(process) ?? new Map<number, number>()
      known.set(grant.pool, Math.max(known.get(grant.pool) ?? 0, world.clock.now() + end.coolDownMs))
      own.set(process, known)
    },
    granted(process, _request, grant) {
      grantedIn.set(grant, epochs.get(process) ?? '')
    },
    mayBeSent(process, { id }, grant) {
      const { isolated, sendByMs, pool } = grant
      const storeMs = storeMsOf(process)
      if (!isolated && storeMs > sendByMs) {
        world.watchers.violate(`#${id} sent ${(storeMs - sendByMs).toFixed(1)} ms after sendBy`)
      }
      if (!isolated && grantedIn.get(grant) !== epochs.get(process))
        world.watchers.violate(`#${id} sent on an old epoch`)
      const leftMs = (told.get(process)?.get(pool)?.endsAtMs ?? 0) - world.clock.now()
      if (leftMs > 1) {
        world.watchers.violate(`#${id} sent ${leftMs.toFixed(1)} ms before the end of a cool-down it was told of`)
      }
      const foundMs = own.get(process)?.get(pool) ?? 0
      // The machine's clock may run fast by its drift.
      if (foundMs - world.clock.now() > 2) {
        world.watchers.violate(
          `#${id} sent ${(foundMs - world.clock.now()).toFixed(1)} ms before the end of its own cool-down`,
        )
      }
    },
  }
}
