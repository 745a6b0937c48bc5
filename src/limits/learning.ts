import type { Ledger } from './ledger.js'
import { type Members, memoryMs, nameOf } from './members.js'
import { limitOf, poolOf, type Round } from './round.js'
import {
  type GroupSpec,
  HEARSAY_MS,
  HORIZON_MS,
  JUMP_MS,
  type Journal,
  LEARN_MS,
  type LimitSpec,
  LONG_WINDOW_MS,
} from './store.js'
import { bucketExpiryMs, bucketOf, bucketWidthMs } from './window.js'

/**
 * How a store that lost its state finds out what was spent: every process of the last known roster replays its own
 * charges; what one that never comes may have spent counts as spent until its window ends.
 */
export class Learning {
  #startedMs = 0
  #untilMs = 0
  #heard = false
  readonly #expected = new Set<string>()
  /** The floors that those who are back were told, by limit. */
  readonly #back = new Map<string, ReadonlyMap<string, number>>()
  /** Fleet sums of long windows as survivors remember them. */
  readonly #used = new Map<string, number>()

  constructor(private readonly ledger: Ledger) {}

  /** 0 when the sums are sure. */
  get untilMs(): number {
    return this.#untilMs
  }

  /** `hearsay`: nobody who knew a former epoch has come, but somebody may. */
  begin(nowMs: number, hearsay: boolean): void {
    this.#startedMs = nowMs
    this.#untilMs = nowMs + (hearsay ? HEARSAY_MS : LEARN_MS)
    this.#heard = false
    this.#expected.clear()
    this.#back.clear()
    this.#used.clear()
  }

  /** Those who spent under the epoch that is gone. */
  expect(names: readonly string[]): void {
    for (const name of names) this.#expected.add(name)
  }

  /**
   * As long as what they spent may count, or any may live on its floor, whether or not they have replayed: should the state
   * be lost again meanwhile.
   */
  stillExpected(round: Round, areMissing: boolean): readonly string[] {
    return areMissing || round.nowMs < this.#startedMs + memoryMs(round.spec) ? [...this.#expected] : []
  }

  /** Whether it still matters who comes back. */
  isRecent({ nowMs, spec, exchange: { leaseMs, isolatedMs } }: Round): boolean {
    if (this.#startedMs === 0) return false
    return this.#untilMs > 0 || nowMs < this.#startedMs + Math.max(memoryMs(spec), leaseMs + isolatedMs)
  }

  end(): void {
    this.#untilMs = 0
    this.#startedMs = 0
    this.#expected.clear()
  }

  /** Takes a survivor's journal in; also of one that comes late. */
  replay(round: Round, processId: string, journal: Journal): void {
    const { ledger } = this
    const aheadMs = round.nowMs - journal.storeMs
    for (const [index, dated, amount] of journal.charges) {
      const limit = limitOf(round, index)
      const log = ledger.log(limit)
      // It was away while the clock jumped: by this one what it spent lies further on.
      const bucket = aheadMs > JUMP_MS ? dated + Math.ceil(aheadMs / log.widthMs) : dated
      if (limit.windowMs === 0 || log.expiryMs(bucket) <= round.nowMs) continue
      // Nobody can have dated anything further ahead than that: the clock was set back.
      log.add(Math.min(bucket, bucketOf(round.nowMs + HORIZON_MS, log.widthMs)), amount)
    }
    for (const [index, value] of journal.ceilings) {
      ledger.ceilings.restore(limitOf(round, index).id, value, round.nowMs)
    }
    this.#recallWords(round, journal)
    if (!this.isRecent(round)) return
    for (const name of journal.roster) this.#expected.add(name)
    this.#noteBack(round, processId)
    if (this.#untilMs === 0) return
    this.#heard = true
    this.#untilMs = this.#startedMs + LEARN_MS
    for (const [index, used] of journal.used) {
      const { id } = limitOf(round, index)
      this.#used.set(id, Math.max(this.#used.get(id) ?? 0, used))
    }
  }

  /** Of operators' words the newest counts, whoever comes last. */
  #recallWords(round: Round, { poolWords, paused, limitWords, overrides, coolDowns }: Journal): void {
    const { control } = this.ledger
    for (const [pool, atMs] of poolWords) control.recallPause(poolOf(round, pool), paused.includes(pool), atMs)
    for (const [index, atMs] of limitWords) {
      const { id, limit } = limitOf(round, index)
      const moved = overrides.find(([its]) => its === index)?.[1] ?? limit
      control.recallLimit(id, limit, moved, atMs)
    }
    for (const [index, untilMs] of coolDowns) {
      const pool = poolOf(round, index)
      const saidMs = poolWords.find(([its]) => its === index)?.[1] ?? 0
      // Who missed a word may remember a cool-down that it ended.
      if (saidMs >= control.pausedOrResumedMs(pool)) control.coolDown(pool, untilMs)
    }
  }

  /** A process comes up that has nothing to replay: it lives on no floor. */
  welcome(round: Round, processId: string): void {
    if (this.#untilMs === 0 && this.#expected.has(nameOf(processId))) this.#noteBack(round, processId)
  }

  #noteBack({ spec: { limits }, exchange: { floors } }: Round, processId: string): void {
    this.#back.set(nameOf(processId), new Map(limits.map(({ id }, index) => [id, floors[index] ?? 0])))
  }

  /**
   * What members from before who have not come back may be living on, and until when at the latest: of each limit what the
   * floors of those who are back leave, for all floors together never exceeded it. While learning, anybody may be missing.
   */
  missing(round: Round): { readonly floors: ReadonlyMap<string, number>; readonly untilMs: number } | undefined {
    const { leaseMs, isolatedMs } = round.exchange
    const untilMs = this.#startedMs + leaseMs + isolatedMs
    const isAny = this.#untilMs > 0 || [...this.#expected].some((name) => !this.#back.has(name))
    if (!isAny || isolatedMs === 0 || untilMs <= round.nowMs) return undefined
    const floors = new Map<string, number>()
    for (const limit of round.spec.limits) {
      let left = this.#mostOf(limit)
      for (const its of this.#back.values()) left -= its.get(limit.id) ?? 0
      floors.set(limit.id, Math.max(0, left))
    }
    return { floors, untilMs }
  }

  /** When to ask whether it is over: soon when nobody else is known to be missing. */
  get askAtMs(): number {
    return this.#isComplete ? this.#startedMs + HEARSAY_MS : this.#untilMs
  }

  /**
   * Ends learning when all have replayed, and those that nobody knew of had time to, or when those who have not can't be
   * waited for any longer. True if it ended.
   */
  conclude(round: Round): boolean {
    if (this.#untilMs === 0) return false
    const complete = this.#isComplete
    if (round.nowMs < (complete ? this.#startedMs + HEARSAY_MS : this.#untilMs)) return false
    const { limits } = round.spec
    const isKnown = this.#heard || this.#expected.size > 0
    for (const limit of limits) {
      if (limit.windowMs === 0) continue
      const log = this.ledger.log(limit)
      log.expire(round.nowMs)
      // A limit that was lowered since they spent may be raised again.
      const rest = this.#mostOf(limit) - log.sum
      const lost = complete || !isKnown ? 0 : rest
      const remembered = limit.windowMs >= LONG_WINDOW_MS ? (this.#used.get(limit.id) ?? 0) - log.sum : 0
      // A long window is not given up for one process that is gone: what it spent since the copy is bounded by a short one.
      const unknown = limit.windowMs >= LONG_WINDOW_MS ? Math.min(lost, remembered + shortLimit(limits, limit)) : lost
      const amount = Math.max(0, Math.min(rest, Math.max(unknown, remembered)))
      if (amount > 0) log.add(bucketOf(this.#startedMs + HORIZON_MS, log.widthMs), amount)
    }
    this.#untilMs = 0
    return true
  }

  get #isComplete(): boolean {
    return this.#heard && [...this.#expected].every((name) => this.#back.has(name))
  }

  /** The most that a limit may have been when those who are gone spent. */
  #mostOf(limit: LimitSpec): number {
    return Math.max(limit.limit, this.ledger.control.configured(limit))
  }
}

/** Epochs are named `<age>-…`: each is one older than the one that whoever opened it knew. */
export function ageOf(epoch: string): number {
  return Number.parseInt(epoch, 10) || 0
}

/** Whether a process shows that state later than this was lost, or that the clock it was kept by can't be trusted. */
export function showsLoss(
  { spec, nowMs, exchange: { processId, seq, knownEpoch, knownVersion, distrust, journal } }: Round,
  epoch: string,
  version: number,
  members: Members,
): boolean {
  // An epoch opened after ours, or beside it: this is what was left of an older copy.
  if (knownEpoch !== epoch) return knownEpoch !== '' && ageOf(knownEpoch) >= ageOf(epoch)
  const member = members.all.get(processId)
  const skipped = member !== undefined && !member.dead && seq > member.seq + 1
  const answered = members.versionOf(processId)
  const forgotten = seq === 1 && answered === undefined && spentOfLate(spec, journal, nowMs)
  // Whatever else happened since: it was given a reply that is not remembered.
  const isUnknown = answered !== undefined && knownVersion > answered
  return distrust || knownVersion > version || skipped || forgotten || isUnknown
}

/** Members are remembered for as long as a short window counts what they spent, not for days. */
function spentOfLate({ limits }: GroupSpec, journal: Journal | null, nowMs: number): boolean {
  return (journal?.charges ?? []).some(([index, bucket]) => {
    const { windowMs, holdMs } = limits[index]!
    return windowMs < LONG_WINDOW_MS && bucketExpiryMs(bucket, bucketWidthMs(windowMs), windowMs, holdMs) > nowMs
  })
}

/** What the same owner allows in a short window of the same dimension, twice; without one, everything. */
function shortLimit(limits: GroupSpec['limits'], of: GroupSpec['limits'][number]): number {
  const owner = of.id.slice(0, of.id.lastIndexOf(':') + 1)
  let least = Number.POSITIVE_INFINITY
  for (const { id, windowMs, limit } of limits) {
    if (windowMs > 0 && windowMs < LONG_WINDOW_MS && id.startsWith(owner)) least = Math.min(least, 2 * limit)
  }
  return least
}
