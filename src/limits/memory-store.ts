import type { Clock } from '../clock.js'
import { type Ceiling, cutCeiling, effectiveLimit, growCeiling } from './ceiling.js'
import {
  CLAIM_MS,
  type ControlChange,
  type Exchange,
  type ExchangeReply,
  type GrantReply,
  type GroupSpec,
  type GroupStore,
  type GroupUsage,
  type LimitSpec,
  type RefusedReply,
  type Settlement,
  type StoreEvents,
  type Waiter,
} from './store.js'
import { SlidingLog } from './window.js'

interface Member {
  expiresMs: number
  holdUntilMs: number
  seq: number
  dead: boolean
  reply: ExchangeReply | undefined
  readonly open: Set<number>
  readonly slots: Map<string, number>
}

/** A process's oldest waiter that a limit keeps back; later arrivals elsewhere stay behind it. */
interface Head {
  readonly sinceMs: number
  readonly cost: number
  /** When it fits (rate), or when it was told that it does (concurrency, 0 before). */
  fitAtMs: number
}

/** One exchange's working set. */
interface Round {
  readonly nowMs: number
  readonly processId: string
  readonly spec: GroupSpec
  /** Indexes of limits this exchange touched. */
  readonly touched: Set<number>
  /** Cost of this process's own refused heads, by the limit that keeps them back. */
  readonly reserved: Map<number, number>
  readonly grants: GrantReply[]
  readonly refused: RefusedReply[]
  retryAtMs: number
}

/**
 * The truth of one group, kept in this process. The same rules as `lua/exchange.lua`, statement by statement:
 * a change here is a change there, and `test/limits/contract.test.ts` holds both to it.
 */
export class MemoryGroup {
  #epoch = ''
  #lastMs = 0
  #offsetMs = 0
  #learnUntilMs = 0
  readonly #members = new Map<string, Member>()
  readonly #logs = new Map<string, SlidingLog>()
  readonly #inFlight = new Map<string, number>()
  readonly #ceilings = new Map<string, Ceiling>()
  readonly #overrides = new Map<string, { base: number; limit: number }>()
  readonly #paused = new Set<string>()
  readonly #coolDowns = new Map<string, number>()
  /** Limit id → process id → head. */
  readonly #heads = new Map<string, Map<string, Head>>()
  readonly #listeners = new Map<string, () => void>()

  /** Applies one exchange at the raw clock reading `rawMs`. */
  exchange(spec: GroupSpec, exchange: Exchange, rawMs: number): ExchangeReply {
    const nowMs = this.#tick(rawMs)
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
    for (const heads of this.#heads.values()) heads.delete(exchange.processId)
    this.#grow(round, exchange.waiters)
    this.#serve(round, member, exchange.waiters)
    this.#notify(round)
    member.reply = this.#reply(round, false)
    return member.reply
  }

  control(change: ControlChange): void {
    if (change.type === 'pause') this.#paused.add(change.pool)
    else if (change.type === 'limit') this.#overrides.set(change.id, { base: change.base, limit: change.limit })
    else {
      this.#paused.delete(change.pool)
      this.#coolDowns.delete(change.pool)
    }
    for (const wake of this.#listeners.values()) wake()
  }

  usage(spec: GroupSpec, rawMs: number): GroupUsage {
    const nowMs = this.#tick(rawMs)
    const limits = spec.limits.map((limit) => ({
      id: limit.id,
      used: this.#used(limit, nowMs),
      limit: this.#configured(limit),
      ceiling: this.#effective(limit),
    }))
    const processes: Record<string, Record<string, number>> = {}
    for (const [id, member] of this.#members) processes[id] = Object.fromEntries(member.slots)
    const pausedUntilMs: Record<string, number> = {}
    for (const pool of spec.pools) {
      const untilMs = this.#pausedUntil(pool)
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

  /** Time never goes back and never stands still: after a backward step it continues from where it was. */
  #tick(rawMs: number): number {
    let nowMs = Math.floor(rawMs) + this.#offsetMs
    if (nowMs < this.#lastMs) {
      this.#offsetMs += this.#lastMs - nowMs
      nowMs = this.#lastMs
    }
    this.#lastMs = nowMs
    return nowMs
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
        for (const heads of this.#heads.values()) heads.delete(id)
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
    if (!member || member.dead) {
      member = {
        expiresMs: 0,
        holdUntilMs: 0,
        seq: 0,
        dead: false,
        reply: undefined,
        open: new Set(),
        slots: new Map(),
      }
      this.#members.set(processId, member)
    }
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
      const cut = cutCeiling(
        this.#ceilings.get(limit.id),
        this.#configured(limit),
        inFlight,
        settlement.grantedAtMs,
        round.nowMs,
      )
      if (cut) this.#ceilings.set(limit.id, cut)
    }
    for (const index of settlement.slots) this.#moveSlot(round, member, index, -1)
    for (const [index, bucket, delta] of settlement.adjustments) {
      const log = this.#log(this.#spec(round, index))
      if (delta < 0) log.refund(bucket, -delta)
      else if (delta > 0) log.add(round.nowMs, delta)
    }
    const pool = round.spec.pools[settlement.pool]
    if (pool !== undefined && settlement.coolDownMs > (this.#coolDowns.get(pool) ?? 0)) {
      this.#coolDowns.set(pool, settlement.coolDownMs)
    }
  }

  #grow(round: Round, waiters: readonly Waiter[]): void {
    for (const waiter of waiters) for (const [index] of waiter.charges) this.#spec(round, index)
    for (const index of round.touched) {
      const limit = round.spec.limits[index]!
      const ceiling = this.#ceilings.get(limit.id)
      if (!ceiling) continue
      const grown = growCeiling(ceiling, this.#configured(limit), this.#inFlight.get(limit.id) ?? 0, round.nowMs)
      if (grown) this.#ceilings.set(limit.id, grown)
      else this.#ceilings.delete(limit.id)
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
      const max = this.#configured(this.#spec(round, index))
      if (cost > max) return { grant: waiter.grant, limit: index, max }
    }
    return undefined
  }

  #gateUntil(round: Round, waiter: Waiter): number {
    const pool = round.spec.pools[waiter.pool] ?? ''
    const untilMs = Math.max(this.#learnUntilMs, this.#pausedUntil(pool))
    if (untilMs > round.nowMs && untilMs !== Number.POSITIVE_INFINITY) this.#retryAt(round, untilMs)
    return untilMs
  }

  /** Takes every dimension or none. A refused waiter becomes the head at the limit that keeps it back longest. */
  #grant(round: Round, member: Member, waiter: Waiter): boolean {
    let bindingIndex = -1
    let bindingAtMs = 0
    for (const [index, cost] of waiter.charges) {
      const limit = this.#spec(round, index)
      const need = cost + (round.reserved.get(index) ?? 0) + this.#olderHeads(round, limit, waiter.sinceMs)
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
    let heads = this.#heads.get(limit.id)
    if (!heads) {
      heads = new Map()
      this.#heads.set(limit.id, heads)
    }
    const fitAtMs = atMs === Number.POSITIVE_INFINITY ? 0 : atMs
    if (!heads.has(round.processId)) heads.set(round.processId, { sinceMs: waiter.sinceMs, cost, fitAtMs })
    if (fitAtMs > 0) this.#retryAt(round, fitAtMs)
  }

  /** What other processes' heads that came before `sinceMs` need of a limit, unless they let their turn lapse. */
  #olderHeads({ nowMs, processId }: Round, limit: LimitSpec, sinceMs: number): number {
    let cost = 0
    for (const [id, head] of this.#heads.get(limit.id) ?? []) {
      const lapsed = head.fitAtMs > 0 && nowMs >= head.fitAtMs + CLAIM_MS
      if (id !== processId && head.sinceMs < sinceMs && !lapsed) cost += head.cost
    }
    return cost
  }

  /** Wakes the heads of other processes that fit now and don't know it yet, oldest first. */
  #notify(round: Round): void {
    for (const index of round.touched) {
      const limit = round.spec.limits[index]!
      let free = this.#effective(limit) - this.#used(limit, round.nowMs)
      const heads = [...(this.#heads.get(limit.id) ?? [])]
        .filter(([id]) => id !== round.processId)
        .sort(([idA, a], [idB, b]) => a.sinceMs - b.sinceMs || (idA < idB ? -1 : 1))
      for (const [id, head] of heads) {
        if (head.cost > free) break
        free -= head.cost
        if (head.fitAtMs > 0 && head.fitAtMs <= round.nowMs) continue
        head.fitAtMs = round.nowMs
        this.#listeners.get(id)?.()
      }
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

  #configured(limit: LimitSpec): number {
    const override = this.#overrides.get(limit.id)
    return override && override.base === limit.limit ? override.limit : limit.limit
  }

  #effective(limit: LimitSpec): number {
    return effectiveLimit(this.#configured(limit), this.#ceilings.get(limit.id))
  }

  #pausedUntil(pool: string): number {
    return this.#paused.has(pool) ? Number.POSITIVE_INFINITY : (this.#coolDowns.get(pool) ?? 0)
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

/** One process's handle on a group kept in memory: the default store, with the same semantics as Redis. */
export class MemoryStore implements GroupStore {
  #processId = ''
  #events: StoreEvents | undefined

  constructor(
    private readonly spec: GroupSpec,
    private readonly clock: Clock,
    private readonly group: MemoryGroup = new MemoryGroup(),
  ) {}

  async exchange(exchange: Exchange): Promise<ExchangeReply> {
    if (exchange.processId !== this.#processId) {
      this.group.unlisten(this.#processId)
      this.#processId = exchange.processId
      this.group.listen(exchange.processId, () => this.#events?.wake())
    }
    return this.group.exchange(this.spec, exchange, this.clock.now())
  }

  async control(change: ControlChange): Promise<void> {
    this.group.control(change)
  }

  async usage(): Promise<GroupUsage> {
    return this.group.usage(this.spec, this.clock.now())
  }

  listen(events: StoreEvents): void {
    this.#events = events
    events.up()
  }

  async close(): Promise<void> {
    this.group.unlisten(this.#processId)
    this.#events = undefined
  }
}
