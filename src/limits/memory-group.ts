import { reportFull } from './full.js'
import { auditFronts, type FrontAudit } from './audit.js'
import { FairTree } from './fair-tree.js'
import { Learning, showsLoss } from './learning.js'
import { Ledger } from './ledger.js'
import { type Member, Members } from './members.js'
import { costOf, giveGrant, limitOf, newRound, poolOf, type Round, retryAt } from './round.js'
import { flowInFront, fronts, type Grant, Schedule } from './schedule.js'
import {
  type ControlChange,
  type Exchange,
  type ExchangeReply,
  type GroupSpec,
  type GroupUsage,
  type LimitUsage,
  LONG_WINDOW_MS,
} from './store.js'
import { StoreTime } from './store-time.js'

/**
 * The truth of one group, kept in this process. The same rules as the Lua script, in the same order:
 * a change here is a change there, and `test/limits/contract.test.ts` holds both to it.
 */
export class MemoryGroup {
  #epoch = ''
  #version = 0
  /** Which server counted; '' if that is not known. */
  #server = ''
  #time = new StoreTime()
  readonly #ledger = new Ledger()
  readonly #tree = new FairTree()
  readonly #members = new Members(this.#ledger, this.#tree)
  readonly #learning = new Learning(this.#ledger)
  readonly #listeners = new Map<string, () => void>()
  /** Processes that knew an epoch of this group: they must be heard if it is lost. */
  readonly #survivors = new Set<string>()

  /** Applies one exchange at the raw clock reading `rawMs`; `server` names who answers, where there may be several. */
  exchange(spec: GroupSpec, exchange: Exchange, rawMs: number, server = ''): ExchangeReply {
    const round = newRound(spec, exchange, this.#time.read(rawMs), rawMs - Math.floor(rawMs))
    this.#version++
    const { processId, seq } = exchange
    const isOutlived = this.#members.isOutlived(processId)
    if (!isOutlived) this.#enterEpoch(round, this.#isAnother(server))
    this.#members.expire(round)
    this.#members.reclaim(round)
    const member = this.#members.all.get(processId)
    if (member && !member.dead && member.reply && seq <= member.seq) return member.reply
    if (isOutlived || (member ? member.dead : seq !== 1)) return this.#reply(round, true)
    const known = member ?? this.#join(round)
    this.#members.renew(round, known, this.#version)
    this.#settle(round, known)
    if (exchange.leave) this.#members.leave(round, processId, known)
    else this.#state(round, known)
    if (this.#learning.conclude(round)) {
      this.#members.setMissing(this.#learning.missing(round))
      this.#wakeAll(processId)
    }
    this.#grow(round)
    const { untilMs } = this.#learning
    if (untilMs > 0) retryAt(round, this.#learning.askAtMs)
    const grant = (given: Grant) => this.#grant(round, given)
    const wake = (id: string) => this.#listeners.get(id)?.()
    new Schedule(round, this.#ledger, this.#tree, grant, wake).run(untilMs > 0)
    this.#ledger.flush()
    reportFull(round, this.#ledger)
    round.share = exchange.leave ? null : this.#members.share(round, known, this.#stillExpected(round))
    known.reply = this.#reply(round, false)
    this.#survivors.add(processId)
    return known.reply
  }

  control(change: ControlChange, rawMs: number): void {
    this.#ledger.control.apply(change, this.#time.peek(rawMs))
    if (change.type === 'limit') this.#members.tellAnew()
    this.#wakeAll('')
  }

  usage(spec: GroupSpec, rawMs: number): GroupUsage {
    const nowMs = this.#time.peek(rawMs)
    const { control, ceilings } = this.#ledger
    const promises = fronts(this.#tree.pools).map((pool) => flowInFront(pool))
    const limits = spec.limits.map((limit): LimitUsage => {
      const { id } = limit
      const configured = control.configured(limit)
      let reserved = this.#ledger.setAsideOf(id)
      for (const flow of limit.windowMs > 0 ? promises : []) {
        if (flow?.draws.includes(id)) reserved += costOf(limit, flow.costs[0] ?? 0)
      }
      return {
        id,
        used: this.#ledger.usedAt(limit, nowMs),
        reserved,
        limit: configured,
        ceiling: control.ceilingSaid(id, ceilings.effective(id, configured)),
        proven: control.ceilingSaid(id, ceilings.proven(id, configured)),
      }
    })
    const processes: Record<string, Record<string, number>> = {}
    for (const [id, { slots, dead }] of this.#members.all) {
      if (!dead || slots.size > 0) processes[id] = Object.fromEntries(slots)
    }
    const pausedUntilMs: Record<string, number> = {}
    for (const pool of spec.pools) {
      const untilMs = control.isPaused(pool) ? Number.POSITIVE_INFINITY : (control.coolDownOf(pool)?.untilMs ?? 0)
      if (untilMs > nowMs) pausedUntilMs[pool] = untilMs
    }
    return { nowMs, limits, processes, pausedUntilMs }
  }

  /** For audits: what each limit's live buckets add up to, and its running sum. */
  audit(): ReturnType<Ledger['audit']> {
    return this.#ledger.audit()
  }

  /** For audits: the slots counted, and those of all members. */
  auditSlots(): { readonly counted: ReadonlyMap<string, number>; readonly held: ReadonlyMap<string, number> } {
    const held = new Map<string, number>()
    for (const { slots } of this.#members.all.values()) {
      for (const [id, count] of slots) held.set(id, (held.get(id) ?? 0) + count)
    }
    return { counted: this.#ledger.slots, held }
  }

  /** For audits: who is first in each pool's line. */
  auditFronts(spec: GroupSpec, nowMs: number): FrontAudit[] {
    return auditFronts(spec, this.#tree, this.#ledger, nowMs)
  }

  /** For audits: whether nobody waits, nothing is in flight, and nothing lies in a mailbox. */
  get isIdle(): boolean {
    const mail = [...this.#members.all.values()].some((member) => member.mail.length > 0)
    return this.#tree.pools.size === 0 && this.#ledger.slots.size === 0 && !mail
  }

  listen(processId: string, wake: () => void): void {
    this.#listeners.set(processId, wake)
  }

  unlisten(processId: string): void {
    this.#listeners.delete(processId)
    this.#survivors.delete(processId)
  }

  /** Loses everything, as after FLUSHALL; who listens goes on listening. */
  lose(): void {
    this.#epoch = ''
    this.#version = 0
    this.#server = ''
    this.#time = new StoreTime()
    this.#wipe()
    this.#ledger.ceilings.clear()
    this.#ledger.control.clear()
    this.#learning.end()
  }

  /** Opens an epoch where there is none, and a new one where the state was lost. */
  #enterEpoch(round: Round, isAnother: boolean): void {
    const { processId, knownEpoch, candidateEpoch } = round.exchange
    if (this.#epoch === '') {
      const others = [...this.#survivors].some((id) => id !== processId)
      if (knownEpoch !== '' || others) this.#learning.begin(round.nowMs, knownEpoch === '')
    } else if (isAnother || showsLoss(round, this.#epoch, this.#version, this.#members)) {
      const roster = [...this.#members.roster, ...this.#stillExpected(round)]
      this.#wipe()
      this.#learning.begin(round.nowMs, false)
      this.#learning.expect(roster)
    } else return
    this.#epoch = candidateEpoch
    this.#version = 1
    this.#members.setMissing(this.#learning.untilMs > 0 ? this.#learning.missing(round) : undefined)
    this.#wakeAll(processId)
  }

  /** Whether this is another server than the one that counted: what that one counted last may not have come here. */
  #isAnother(server: string): boolean {
    if (server === '') return false
    const former = this.#server
    this.#server = server
    return former !== '' && former !== server
  }

  #stillExpected(round: Round): readonly string[] {
    return this.#learning.stillExpected(round, this.#members.areMissing)
  }

  #wipe(): void {
    this.#ledger.clear()
    this.#tree.clear()
    this.#members.clear()
  }

  #join(round: Round): Member {
    const { journal, knownEpoch, processId } = round.exchange
    this.#ledger.control.configure(round.spec.limits, round.nowMs)
    if (journal && knownEpoch !== this.#epoch) {
      this.#learning.replay(round, processId, journal)
      round.replayed = true
    } else this.#learning.welcome(round, processId)
    const member = this.#members.join(round)
    if (this.#learning.isRecent(round)) this.#members.setMissing(this.#learning.missing(round))
    return member
  }

  #settle(round: Round, member: Member): void {
    const { nowMs, exchange } = round
    let newsForAll = false
    for (const [index, grantedAtMs] of exchange.cuts) {
      const limit = limitOf(round, index)
      const { ceilings, control } = this.#ledger
      const inFlight = this.#ledger.inFlight(limit.id)
      // Nobody may go on handing slots over that are no more.
      if (ceilings.cut(limit, control.configured(limit), inFlight, grantedAtMs, nowMs)) newsForAll = true
    }
    for (const [index, count] of exchange.freed) this.#members.moveSlots(member, limitOf(round, index).id, -count)
    // A journal just replayed holds every correction already.
    for (const [index, bucket, delta] of round.replayed ? [] : exchange.adjustments) {
      this.#ledger.adjust(limitOf(round, index), bucket, delta, nowMs)
    }
    for (const [index, max, spent, untilMs] of exchange.observed) {
      const limit = limitOf(round, index)
      // `remaining` only ever tightens: what the provider counts beyond our own is somebody else's.
      const foreign = Math.max(0, spent - this.#ledger.used(limit, nowMs))
      this.#ledger.control.observe(limit.id, max, foreign, untilMs)
    }
    for (const [pool, tenant, key, delta] of exchange.service) {
      this.#tree.correct(exchange.processId, poolOf(round, pool), tenant, key, delta)
    }
    for (const [pool, untilMs] of exchange.coolDowns) {
      if (untilMs > nowMs && this.#ledger.control.coolDown(poolOf(round, pool), untilMs)) newsForAll = true
    }
    if (newsForAll) this.#wakeAll(exchange.processId)
  }

  #state(round: Round, member: Member): void {
    const { processId, flows } = round.exchange
    const granted = this.#members.collect(round, member)
    round.restate = member.restate
    member.restate = false
    for (const flow of flows) {
      const draws = flow.draws.map((index) => limitOf(round, index).id)
      this.#tree.state(processId, poolOf(round, flow.pool), draws, flow, granted.get(flow.key) ?? 0)
    }
  }

  #grow(round: Round): void {
    for (const limit of round.spec.limits) {
      const { ceilings, control } = this.#ledger
      if (ceilings.value(limit.id) === undefined) continue
      ceilings.grow(limit, control.configured(limit), this.#ledger.used(limit, round.nowMs), round.nowMs)
    }
  }

  #grant(round: Round, { processId, key, atMs, tokens, draws }: Grant): void {
    const member = this.#members.all.get(processId)
    if (!member) return
    for (const id of draws) {
      const index = round.limitIndex.get(id) ?? -1
      if (limitOf(round, index).windowMs === 0) this.#members.moveSlots(member, id, 1)
    }
    if (processId === round.exchange.processId) giveGrant(round, key, atMs, tokens)
    else if (this.#members.post(member, { key, atMs, tokens, draws }, round.nowMs)) this.#listeners.get(processId)?.()
  }

  #wakeAll(except: string): void {
    for (const [id, wake] of this.#listeners) if (id !== except) wake()
  }

  #reply(round: Round, fenced: boolean): ExchangeReply {
    const { nowMs, spec } = round
    const { control, ceilings } = this.#ledger
    const coolDowns: [number, number, number][] = []
    const paused: number[] = []
    const poolWords: [number, number][] = []
    spec.pools.forEach((pool, index) => {
      const coolDown = control.coolDownOf(pool)
      if (coolDown && coolDown.untilMs > nowMs) coolDowns.push([index, coolDown.untilMs, coolDown.generation])
      if (control.isPaused(pool)) paused.push(index)
      const saidMs = control.pausedOrResumedMs(pool)
      if (saidMs > 0) poolWords.push([index, saidMs])
    })
    const learned: [number, number][] = []
    const overrides: [number, number][] = []
    const limitWords: [number, number][] = []
    const used: [number, number][] = []
    spec.limits.forEach((limit, index) => {
      const ceiling = ceilings.value(limit.id)
      if (ceiling !== undefined) learned.push([index, ceiling])
      const configured = control.configured(limit)
      if (configured !== limit.limit) overrides.push([index, configured])
      const movedMs = control.movedMs(limit.id)
      if (movedMs > 0) limitWords.push([index, movedMs])
      if (limit.windowMs >= LONG_WINDOW_MS) used.push([index, this.#ledger.used(limit, nowMs)])
    })
    return {
      nowMs,
      readMs: nowMs + round.fractionMs,
      setBackMs: this.#time.setBackMs,
      epoch: this.#epoch,
      version: this.#version,
      fenced,
      learnUntilMs: this.#learning.untilMs,
      grants: [...round.grants].map(([key, dated]) => [key, ...dated] as const),
      refused: round.refused,
      retryAtMs: round.retryAtMs,
      restate: round.restate,
      handoffs: round.handoffs,
      queues: round.queues,
      coolDowns,
      paused,
      ceilings: learned,
      overrides,
      used,
      poolWords,
      limitWords,
      share: round.share,
    }
  }
}
