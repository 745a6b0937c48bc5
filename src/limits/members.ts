import { FreshMap } from '../registry.js'
import type { FairTree } from './fair-tree.js'
import type { Ledger } from './ledger.js'
import { costOf, giveGrant, type Round } from './round.js'
import { CLAIM_MS, type ExchangeReply, type GroupSpec, HORIZON_MS, type LimitSpec, LONG_WINDOW_MS } from './store.js'

/** A grant that waits in a process's mailbox. */
export interface Mail {
  readonly key: string
  readonly atMs: number
  readonly tokens: number
  /** Ids of the limits it was charged to. */
  readonly draws: readonly string[]
}

/** One process as its group knows it. */
export interface Member {
  expiresMs: number
  holdUntilMs: number
  isolatedMs: number
  seq: number
  /** Of the last reply it was given. */
  version: number
  /** Its lease ended; what it held is held a while longer, or set aside. */
  dead: boolean
  asideUntilMs: number
  /** Until when what it spent may still count somewhere: it stays on the roster. */
  ghostUntilMs: number
  reply: ExchangeReply | undefined
  readonly slots: FreshMap<string, number>
  mail: Mail[]
  mailSinceMs: number
  /** Its flows were dropped while it was alive. */
  restate: boolean
  /** Of each limit, by id, the most it may live on if it is cut off: what it was told, and what it knew before until it heard. */
  floors: Map<string, number>
  /** What it was told last, until its next batch shows that it heard. */
  told: Map<string, number> | undefined
  shareVersion: number
}

/** The place of those who were members before the state was lost, and may live on their floors: nobody knows who on which. */
const MISSING = '?'

function newMember(): Member {
  return {
    expiresMs: 0,
    holdUntilMs: 0,
    isolatedMs: 0,
    seq: 0,
    version: 0,
    dead: false,
    asideUntilMs: 0,
    ghostUntilMs: 0,
    reply: undefined,
    slots: new FreshMap(),
    mail: [],
    mailSinceMs: 0,
    restate: false,
    floors: new Map(),
    told: undefined,
    shareVersion: 0,
  }
}

export function nameOf(processId: string): string {
  return processId.slice(0, processId.lastIndexOf('.'))
}

function incarnationOf(processId: string): number {
  return Number(processId.slice(processId.lastIndexOf('.') + 1))
}

/** How long a process may have spent something that a window of less than `LONG_WINDOW_MS` still counts. */
export function memoryMs({ limits }: GroupSpec): number {
  let longestMs = 0
  for (const { windowMs, holdMs } of limits) {
    if (windowMs < LONG_WINDOW_MS) longestMs = Math.max(longestMs, windowMs + holdMs)
  }
  return longestMs + HORIZON_MS
}

/** The processes of a group: leases, slots, mailboxes, and the share each may fall back on. */
export class Members {
  readonly all = new Map<string, Member>()
  #rosterVersion = 1

  constructor(
    private readonly ledger: Ledger,
    private readonly tree: FairTree,
  ) {}

  clear(): void {
    this.all.clear()
    this.#rosterVersion++
  }

  /** Version of the last reply to any incarnation of the process that is remembered; undefined if none is. */
  versionOf(processId: string): number | undefined {
    const known = this.all.get(processId)
    if (known) return known.version
    const name = nameOf(processId)
    for (const [id, { version }] of this.all) if (nameOf(id) === name) return version
    return undefined
  }

  /** Whether a later incarnation of it has come: what is still on its way from this one says nothing any more. */
  isOutlived(processId: string): boolean {
    if (this.all.has(processId)) return false
    const name = nameOf(processId)
    const incarnation = incarnationOf(processId)
    for (const id of this.all.keys()) if (nameOf(id) === name && incarnationOf(id) > incarnation) return true
    return false
  }

  join(round: Round): Member {
    const { processId, held, floors } = round.exchange
    for (const id of [...this.all.keys()]) if (nameOf(id) === nameOf(processId)) this.#forget(round, id)
    const member = newMember()
    floors.forEach((floor, index) => {
      member.floors.set(round.spec.limits[index]?.id ?? '', floor)
    })
    this.all.set(processId, member)
    this.#rosterVersion++
    for (const [index, count] of held) this.moveSlots(member, round.spec.limits[index]?.id ?? '', count)
    return member
  }

  renew(round: Round, member: Member, version: number): void {
    const { leaseMs, holdUntilMs, isolatedMs, seq } = round.exchange
    member.expiresMs = round.nowMs + leaseMs
    member.holdUntilMs = holdUntilMs
    member.isolatedMs = isolatedMs
    member.ghostUntilMs = member.expiresMs + memoryMs(round.spec)
    member.seq = seq
    member.version = version
    // It sends no further batch before it has the reply to the last.
    if (seq > 1 && member.told) {
      member.floors = member.told
      member.told = undefined
    }
  }

  /** Sets aside what members from before, who have not come back, may live on; in place of what was so far. */
  setMissing(missing: { readonly floors: ReadonlyMap<string, number>; readonly untilMs: number } | undefined): void {
    const known = this.all.get(MISSING)
    if (!known && !missing) return
    this.#rosterVersion++
    if (known) this.#releaseAside(known)
    this.all.delete(MISSING)
    if (!missing) return
    const member = { ...newMember(), dead: true, asideUntilMs: missing.untilMs, floors: new Map(missing.floors) }
    this.all.set(MISSING, member)
    for (const [limit, amount] of member.floors) this.ledger.setAside(limit, amount)
  }

  get areMissing(): boolean {
    return this.all.has(MISSING)
  }

  /** A limit was moved: everybody is to hear of its new floor. */
  tellAnew(): void {
    this.#rosterVersion++
  }

  /** It goes: nothing is held for it, but what it spent is remembered under its name. */
  leave(round: Round, processId: string, member: Member): void {
    this.#takeBackMail(round, member)
    this.tree.drop(processId)
    this.#releaseSlots(member)
    member.dead = true
    member.floors = new Map()
    member.told = undefined
    member.asideUntilMs = 0
    this.#rosterVersion++
  }

  moveSlots(member: Member, id: string, by: number): void {
    const count = (member.slots.get(id) ?? 0) + by
    if (count === 0) member.slots.delete(id)
    else member.slots.set(id, count)
    this.ledger.moveSlots(id, by)
  }

  /** Ends leases that ran out, then what was held or set aside for the dead. */
  expire(round: Round): void {
    const { nowMs } = round
    for (const [id, member] of this.all) {
      if (!member.dead && member.expiresMs <= nowMs) this.#die(round, id, member)
      if (!member.dead) continue
      if (member.holdUntilMs <= nowMs) this.#releaseSlots(member)
      if (member.asideUntilMs > 0 && member.asideUntilMs <= nowMs) this.#endAside(round, member)
      if (member.slots.size === 0 && member.asideUntilMs === 0 && member.ghostUntilMs <= nowMs) {
        this.all.delete(id)
        this.#rosterVersion++
      }
    }
  }

  /** Takes back what a process let lie: its mail, and its place in every queue until it states it again. */
  reclaim(round: Round): void {
    for (const [id, member] of this.all) {
      if (member.mail.length === 0 || round.nowMs < member.mailSinceMs + CLAIM_MS) continue
      if (id === round.exchange.processId) continue
      this.#takeBackMail(round, member)
      this.tree.drop(id)
      member.restate = true
    }
  }

  /** Puts a grant into a mailbox; true if it was empty. */
  post(member: Member, mail: Mail, nowMs: number): boolean {
    member.mail.push(mail)
    if (member.mail.length > 1) return false
    member.mailSinceMs = nowMs
    return true
  }

  /** Empties the mailbox into the reply; returns how many grants each flow had there. */
  collect(round: Round, member: Member): Map<string, number> {
    const counts = new Map<string, number>()
    for (const { key, atMs, tokens } of member.mail) {
      giveGrant(round, key, atMs, tokens)
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    member.mail = []
    return counts
  }

  get roster(): string[] {
    const ids = [...this.all.keys()].filter((id) => id !== MISSING)
    return [...new Set(ids.map(nameOf))].sort()
  }

  /**
   * The roster and floors, when they changed since this process was last told. Floors are whole shares by largest
   * remainder, in the order of the names; never more than what the floors of the others leave. `others` are on the roster
   * besides: what they spent before the state was lost may still count somewhere.
   */
  share(round: Round, member: Member, others: readonly string[]): ExchangeReply['share'] {
    if (member.shareVersion === this.#rosterVersion) return null
    const living = [...this.all].filter(([, { dead, asideUntilMs }]) => !dead || asideUntilMs > 0)
    const ids = living.map(([id]) => id).sort()
    const rank = ids.indexOf(round.exchange.processId)
    let isShort = false
    const floors = round.spec.limits.map((limit) => {
      const allowed = this.ledger.control.configured(limit)
      const share = Math.floor(allowed / ids.length) + (rank < allowed % ids.length ? 1 : 0)
      let taken = 0
      for (const [, its] of living) if (its !== member) taken += its.floors.get(limit.id) ?? 0
      const floor = Math.max(0, Math.min(share, allowed - taken))
      isShort ||= floor < share
      return floor
    })
    // Somebody's floor is still that of a smaller fleet: this one's grows once that one was told.
    member.shareVersion = isShort ? 0 : this.#rosterVersion
    member.told = new Map(round.spec.limits.map(({ id }, index) => [id, floors[index] ?? 0]))
    for (const [id, floor] of member.told) member.floors.set(id, Math.max(floor, member.floors.get(id) ?? 0))
    return { roster: [...new Set([...this.roster, ...others])].sort(), floors }
  }

  #die(round: Round, id: string, member: Member): void {
    this.#takeBackMail(round, member)
    this.tree.drop(id)
    member.dead = true
    if (member.isolatedMs > 0) {
      member.asideUntilMs = member.expiresMs + member.isolatedMs
      for (const [limit, amount] of member.floors) this.ledger.setAside(limit, amount)
    }
    this.#rosterVersion++
  }

  #forget(round: Round, processId: string): void {
    const member = this.all.get(processId)!
    this.#takeBackMail(round, member)
    this.tree.drop(processId)
    this.#releaseSlots(member)
    if (member.dead) this.#releaseAside(member)
    this.all.delete(processId)
  }

  #releaseSlots(member: Member): void {
    for (const [id, count] of member.slots) this.ledger.moveSlots(id, -count)
    member.slots.clear()
  }

  /** Nobody came to say what was spent of it: what may have been counts until its windows end. */
  #endAside(round: Round, member: Member): void {
    for (const [id, amount] of member.floors) {
      const limit = this.#limit(round, id)
      if (limit && limit.windowMs > 0) this.ledger.spent(limit, member.asideUntilMs, amount, round.nowMs)
    }
    this.#releaseAside(member)
  }

  #releaseAside(member: Member): void {
    if (member.asideUntilMs > 0) for (const [id, amount] of member.floors) this.ledger.setAside(id, -amount)
    member.asideUntilMs = 0
    member.floors = new Map()
    member.told = undefined
  }

  #takeBackMail(round: Round, member: Member): void {
    for (const { atMs, tokens, draws } of member.mail) {
      for (const id of draws) {
        const limit = this.#limit(round, id)
        // Of a limit that this process does not keep: nobody else would give the slot back; what a window counts passes.
        if (limit ? limit.windowMs === 0 : member.slots.has(id)) this.moveSlots(member, id, -1)
        else if (limit) this.ledger.refund(limit, atMs, costOf(limit, tokens))
      }
    }
    member.mail = []
  }

  #limit(round: Round, id: string): LimitSpec | undefined {
    return round.spec.limits[round.limitIndex.get(id) ?? -1]
  }
}
