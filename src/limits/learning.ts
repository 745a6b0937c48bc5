import type { Ledger } from './ledger.js'
import { memoryMs, nameOf } from './members.js'
import { limitOf, poolOf, type Round } from './round.js'
import { type GroupSpec, HEARSAY_MS, HORIZON_MS, type Journal, LEARN_MS, LONG_WINDOW_MS } from './store.js'
import { bucketOf } from './window.js'

/**
 * How a store that lost its state finds out what was spent: every process of the last known roster replays its own
 * charges; what one that never comes may have spent counts as spent until its window ends.
 */
export class Learning {
  #startedMs = 0
  #untilMs = 0
  #heard = false
  readonly #expected = new Set<string>()
  readonly #replayed = new Set<string>()
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
    this.#replayed.clear()
    this.#used.clear()
  }

  /** Those who spent under the epoch that is gone. */
  expect(names: readonly string[]): void {
    for (const name of names) this.#expected.add(name)
  }

  /** As long as what they spent may count, whether or not they have replayed: should the state be lost again meanwhile. */
  stillExpected(round: Round): readonly string[] {
    return round.nowMs < this.#startedMs + memoryMs(round.spec) ? [...this.#expected] : []
  }

  end(): void {
    this.#untilMs = 0
    this.#startedMs = 0
    this.#expected.clear()
  }

  /** Takes a survivor's journal in; also of one that comes late. */
  replay(round: Round, processId: string, journal: Journal): void {
    const { ledger } = this
    for (const [index, bucket, amount] of journal.charges) {
      const limit = limitOf(round, index)
      const log = ledger.log(limit)
      if (limit.windowMs > 0 && log.expiryMs(bucket) > round.nowMs) log.add(bucket, amount)
    }
    for (const [index, value] of journal.ceilings) {
      ledger.ceilings.restore(limitOf(round, index).id, value, round.nowMs)
    }
    for (const [pool, untilMs] of journal.coolDowns) ledger.control.coolDown(poolOf(round, pool), untilMs)
    for (const pool of journal.paused) ledger.control.apply({ type: 'pause', pool: poolOf(round, pool) })
    for (const [index, value] of journal.overrides) {
      const { id, limit } = limitOf(round, index)
      ledger.control.override(id, limit, value)
    }
    if (this.#untilMs === 0) return
    this.#heard = true
    this.#untilMs = this.#startedMs + LEARN_MS
    this.#replayed.add(nameOf(processId))
    for (const name of journal.roster) this.#expected.add(name)
    for (const [index, used] of journal.used) {
      const { id } = limitOf(round, index)
      this.#used.set(id, Math.max(this.#used.get(id) ?? 0, used))
    }
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
    for (const limit of limits) {
      if (limit.windowMs === 0) continue
      const log = this.ledger.log(limit)
      log.expire(round.nowMs)
      const free = this.ledger.allowed(limit) - log.sum
      const lost = complete || !this.#heard ? 0 : free
      const remembered = limit.windowMs >= LONG_WINDOW_MS ? (this.#used.get(limit.id) ?? 0) - log.sum : 0
      // A long window is not given up for one process that is gone: what it spent since the copy is bounded by a short one.
      const unknown = limit.windowMs >= LONG_WINDOW_MS ? Math.min(lost, remembered + shortLimit(limits, limit)) : lost
      const amount = Math.max(0, Math.min(free, Math.max(unknown, remembered)))
      if (amount > 0) log.add(bucketOf(this.#startedMs + HORIZON_MS, log.widthMs), amount)
    }
    this.#untilMs = 0
    return true
  }

  get #isComplete(): boolean {
    return this.#heard && [...this.#expected].every((name) => this.#replayed.has(name))
  }
}

/** Epochs are named `<age>-…`: each is one older than the one that whoever opened it knew. */
export function ageOf(epoch: string): number {
  return Number.parseInt(epoch, 10) || 0
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
