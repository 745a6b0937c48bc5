import { Ceilings } from './ceiling.js'
import { Control } from './control.js'
import { Heads } from './heads.js'
import { type Member, newMember } from './member.js'
import type { Round } from './round.js'
import {
  CLAIM_MS,
  type ControlChange,
  type Exchange,
  type ExchangeReply,
  type GroupSpec,
  type GroupUsage,
  type LimitSpec,
  type RefusedReply,
  type Settlement,
  type Waiter,
} from './store.js'
import { StoreTime } from './store-time.js'
import { SlidingLog } from './window.js'

/**
 * The truth of one group, kept in this process. The same rules as `lua/exchange.lua`, statement by statement:
 * a change here is a change there, and `test/limits/contract.test.ts` holds both to it.
 */
export class MemoryGroup {
  #epoch = ''
  readonly #time = new StoreTime()
  #learnUntilMs = 0
  readonly #members = new Map<string, Member>()
  readonly #logs = new Map<string, SlidingLog>()
  readonly #inFlight = new Map<string, number>()
  readonly #ceilings = new Ceilings()
  readonly #control = new Control()
  readonly #heads = new Heads()
  readonly #listeners = new Map<string, () => void>()

  /** Applies one exchange at the raw clock reading `rawMs`. */
  exchange(spec: GroupSpec, exchange: Exchange, rawMs: number): ExchangeReply {
    const nowMs = this.#time.read(rawMs)
    if (this.#epoch === '') this.#epoch = exchange.candidateEpoch
    const round: Round = {
      nowMs,
      processId: exchange.processId,
      spec,
      touched: new Set(),
      reserved: new Map(),
      grants: [],
      refused: [],
      retryAtMs: 0,
    }
    this.#expireLeases(round)
    const stateLost = exchange.knownEpoch !== '' && exchange.knownEpoch !== this.#epoch
    if (stateLost || exchange.distrust) this.#learn(round)
    const known = this.#members.get(exchange.processId)
    if (known && !known.dead && known.reply && exchange.seq <= known.seq) return known.reply
    if (exchange.seq > 1 && (!known || known.dead)) return this.#reply(round, true)

    const member = this.#renew(round, exchange)
    for (const adoption of exchange.adoptions) {
      member.open.add(adoption.grant)
      for (const limit of adoption.slots) this.#moveSlot(round, member, limit, 1)
    }
    for (const settlement of exchange.settlements) this.#settle(round, member, settlement)
    this.#heads.drop(exchange.processId)
    this.#grow(round, exchange.waiters)
    this.#serve(round, member, exchange.waiters)
    this.#notify(round)
    member.reply = this.#reply(round, false)
    return member.reply
  }

  control(change: ControlChange): void {
    this.#control.apply(change)
    for (const wake of this.#listeners.values()) wake()
  }

  usage(spec: GroupSpec, rawMs: number): GroupUsage {
    const nowMs = this.#time.read(rawMs)
    const limits = spec.limits.map((limit) => ({
      id: limit.id,
      used: this.#used(limit, nowMs),
      limit: this.#control.configured(limit),
      ceiling: this.#effective(limit),
    }))
    const processes: Record<string, Record<string, number>> = {}
    for (const [id, member] of this.#members) processes[id] = Object.fromEntries(member.slots)
    const pausedUntilMs: Record<string, number> = {}
    for (const pool of spec.pools) {
      const untilMs = this.#control.pausedUntil(pool)
      if (untilMs > nowMs) pausedUntilMs[pool] = untilMs
    }
    return { nowMs, limits, processes, pausedUntilMs }
  }

  /** For audits: what each limit's live buckets add up to, and its running sum. */
  audit(): { id: string; sum: number; bucketSum: number }[] {
    return [...this.#logs].map(([id, log]) => ({
      id,
      sum: log.sum,
      bucketSum: [...log.buckets.values()].reduce((total, amount) => total + amount, 0),
    }))
  }

  listen(processId: string, wake: () => void): void {
    this.#listeners.set(processId, wake)
  }

  unlisten(processId: string): void {
    this.#listeners.delete(processId)
  }

  /** Waits until whatever may have been spent is outside every window. */
  #learn({ nowMs, spec }: Round): void {
    const longestMs = Math.max(0, ...spec.limits.map((limit) => limit.windowMs + limit.holdMs))
    this.#learnUntilMs = Math.max(this.#learnUntilMs, nowMs + longestMs)
  }

  #expireLeases(round: Round): void {
    for (const [id, member] of this.#members) {
      if (!member.dead && member.expiresMs <= round.nowMs) {
        member.dead = true
        this.#heads.drop(id)
      }
      if (!member.dead || member.holdUntilMs > round.nowMs) continue
      for (const [limitId, count] of member.slots) {
        this.#inFlight.set(limitId, (this.#inFlight.get(limitId) ?? 0) - count)
        const index = round.spec.limits.findIndex((limit) => limit.id === limitId)
        if (index >= 0) round.touched.add(index)
      }
      this.#members.delete(id)
    }
  }

  #renew({ nowMs, processId }: Round, exchange: Exchange): Member {
    let member = this.#members.get(processId)
    if (!member) {
      member = newMember()
      this.#members.set(processId, member)
    }
    // A dead one that joins again by the same name keeps the slots that are held for its calls.
    member.dead = false
    member.expiresMs = nowMs + exchange.leaseMs
    member.holdUntilMs = exchange.holdUntilMs
    member.seq = exchange.seq
    return member
  }

  #moveSlot(round: Round, member: Member, index: number, by: 1 | -1): void {
    const { id } = this.#spec(round, index)
    const held = (member.slots.get(id) ?? 0) + by
    if (held === 0) member.slots.delete(id)
    else member.slots.set(id, held)
    this.#inFlight.set(id, (this.#inFlight.get(id) ?? 0) + by)
  }

  #settle(round: Round, member: Member, settlement: Settlement): void {
    if (!member.open.delete(settlement.grant)) return
    for (const index of settlement.cuts) {
      const limit = this.#spec(round, index)
      const inFlight = this.#inFlight.get(limit.id) ?? 0
      const configured = this.#control.configured(limit)
      this.#ceilings.cut(limit.id, configured, inFlight, settlement.grantedAtMs, round.nowMs)
    }
    for (const index of settlement.slots) this.#moveSlot(round, member, index, -1)
    for (const [index, bucket, delta] of settlement.adjustments) {
      const log = this.#log(this.#spec(round, index))
      if (delta < 0) log.refund(bucket, -delta)
      else if (delta > 0) log.add(round.nowMs, delta)
    }
    const pool = round.spec.pools[settlement.pool]
    if (pool !== undefined && settlement.coolDownMs > 0) this.#control.coolDown(pool, settlement.coolDownMs)
  }

  #grow(round: Round, waiters: readonly Waiter[]): void {
    for (const waiter of waiters) for (const [index] of waiter.charges) this.#spec(round, index)
    for (const index of round.touched) {
      const limit = round.spec.limits[index]!
      const inFlight = this.#inFlight.get(limit.id) ?? 0
      this.#ceilings.grow(limit.id, this.#control.configured(limit), inFlight, round.nowMs)
    }
  }

  #serve(round: Round, member: Member, waiters: readonly Waiter[]): void {
    const blockedFlows = new Set<number>()
    for (const waiter of waiters) {
      if (blockedFlows.has(waiter.flow)) continue
      const refusal = this.#refusal(round, waiter)
      if (refusal) round.refused.push(refusal)
      else if (this.#gateUntil(round, waiter) > round.nowMs || !this.#grant(round, member, waiter)) {
        blockedFlows.add(waiter.flow)
      }
    }
  }

  /** A cost above the limit as configured now can never be granted. */
  #refusal(round: Round, waiter: Waiter): RefusedReply | undefined {
    for (const [index, cost] of waiter.charges) {
      const max = this.#control.configured(this.#spec(round, index))
      if (cost > max) return { grant: waiter.grant, limit: index, max }
    }
    return undefined
  }

  #gateUntil(round: Round, waiter: Waiter): number {
    const pool = round.spec.pools[waiter.pool] ?? ''
    const untilMs = Math.max(this.#learnUntilMs, this.#control.pausedUntil(pool))
    if (untilMs > round.nowMs && untilMs !== Number.POSITIVE_INFINITY) this.#retryAt(round, untilMs)
    return untilMs
  }

  /** Takes every dimension or none. A refused waiter becomes the head at the limit that keeps it back longest. */
  #grant(round: Round, member: Member, waiter: Waiter): boolean {
    let bindingIndex = -1
    let bindingAtMs = 0
    for (const [index, cost] of waiter.charges) {
      const limit = this.#spec(round, index)
      const need =
        cost +
        (round.reserved.get(index) ?? 0) +
        this.#heads.olderCost(limit.id, round.processId, waiter.sinceMs, round.nowMs)
      const missing = need - (this.#effective(limit) - this.#used(limit, round.nowMs))
      if (missing <= 0) continue
      const atMs = this.#freeAt(round, limit, missing)
      if (bindingIndex < 0 || atMs > bindingAtMs) {
        bindingIndex = index
        bindingAtMs = atMs
      }
    }
    if (bindingIndex >= 0) {
      this.#becomeHead(round, waiter, bindingIndex, bindingAtMs)
      return false
    }
    const buckets = waiter.charges.map(([index, cost]) => {
      const limit = this.#spec(round, index)
      if (limit.windowMs > 0) return this.#log(limit).add(round.nowMs, cost)
      this.#moveSlot(round, member, index, 1)
      return 0
    })
    member.open.add(waiter.grant)
    round.grants.push({ grant: waiter.grant, buckets })
    return true
  }

  #freeAt({ nowMs }: Round, limit: LimitSpec, missing: number): number {
    if (limit.windowMs === 0) return Number.POSITIVE_INFINITY
    return this.#log(limit).freeAt(nowMs, missing, limit.holdMs) ?? nowMs + CLAIM_MS
  }

  #becomeHead(round: Round, waiter: Waiter, index: number, atMs: number): void {
    const limit = this.#spec(round, index)
    const cost = waiter.charges.find(([charged]) => charged === index)?.[1] ?? 0
    round.reserved.set(index, (round.reserved.get(index) ?? 0) + cost)
    const fitAtMs = atMs === Number.POSITIVE_INFINITY ? 0 : atMs
    this.#heads.add(limit.id, round.processId, { sinceMs: waiter.sinceMs, cost, fitAtMs })
    if (fitAtMs > 0) this.#retryAt(round, fitAtMs)
  }

  /** Wakes the heads of other processes that fit now and don't know it yet, oldest first. */
  #notify(round: Round): void {
    for (const index of round.touched) {
      const limit = round.spec.limits[index]!
      const free = this.#effective(limit) - this.#used(limit, round.nowMs)
      this.#heads.wake(limit.id, round.processId, free, round.nowMs, (id) => this.#listeners.get(id)?.())
    }
  }

  #retryAt(round: Round, atMs: number): void {
    if (round.retryAtMs === 0 || atMs < round.retryAtMs) round.retryAtMs = atMs
  }

  #spec(round: Round, index: number): LimitSpec {
    const limit = round.spec.limits[index]
    if (!limit) throw new RangeError(`limit index must be below ${round.spec.limits.length}, got ${index}`)
    round.touched.add(index)
    return limit
  }

  #log(limit: LimitSpec): SlidingLog {
    let log = this.#logs.get(limit.id)
    if (!log) {
      log = new SlidingLog(limit.windowMs)
      this.#logs.set(limit.id, log)
    }
    return log
  }

  #used(limit: LimitSpec, nowMs: number): number {
    if (limit.windowMs === 0) return this.#inFlight.get(limit.id) ?? 0
    const log = this.#log(limit)
    log.expire(nowMs, limit.holdMs)
    return log.sum
  }

  #effective(limit: LimitSpec): number {
    return this.#ceilings.effective(limit.id, this.#control.configured(limit))
  }

  #reply(round: Round, fenced: boolean): ExchangeReply {
    return {
      nowMs: round.nowMs,
      epoch: this.#epoch,
      fenced,
      learnUntilMs: this.#learnUntilMs > round.nowMs ? this.#learnUntilMs : 0,
      grants: round.grants,
      refused: round.refused,
      retryAtMs: round.retryAtMs,
    }
  }
}
