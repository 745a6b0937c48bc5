import { type ControlChange, type LimitSpec, RE_ENTRY_MS, RE_ENTRY_SPACING_MS } from './store.js'

interface CoolDown {
  readonly untilMs: number
  readonly generation: number
  /** Date of the last grant after it. */
  readonly lastMs: number
}

/** What operators and providers said of a group: pauses, cool-downs, limits as they now stand, spending that is not ours. */
export class Control {
  /** `atMs`: when an operator moved it, or a process came up with a new config; 0 for neither. */
  readonly #limits = new Map<string, { readonly base: number; readonly limit: number; readonly atMs: number }>()
  /** When a pool was paused, negative when it was resumed. */
  readonly #pauses = new Map<string, number>()
  readonly #coolDowns = new Map<string, CoolDown>()
  readonly #observed = new Map<string, { readonly max: number; readonly foreign: number; readonly untilMs: number }>()

  apply(change: ControlChange, nowMs: number): void {
    const atMs = this.#wordDate(nowMs)
    if (change.type === 'limit') this.#limits.set(change.id, { base: change.base, limit: change.limit, atMs })
    else this.#pause(change.pool, change.type === 'pause', atMs)
  }

  #pause(pool: string, isPaused: boolean, atMs: number): void {
    this.#pauses.set(pool, isPaused ? atMs : -atMs)
    if (!isPaused) this.#coolDowns.delete(pool)
  }

  /** The date of a word that is said now: later than all before, whatever the clock does. */
  #wordDate(nowMs: number): number {
    let newestMs = 0
    for (const { atMs } of this.#limits.values()) newestMs = Math.max(newestMs, atMs)
    for (const atMs of this.#pauses.values()) newestMs = Math.max(newestMs, Math.abs(atMs))
    return Math.max(nowMs, newestMs + 1)
  }

  /** Takes over what a process remembers of a pool, unless something newer was said since. */
  recallPause(pool: string, isPaused: boolean, atMs: number): void {
    if (atMs > this.pausedOrResumedMs(pool)) this.#pause(pool, isPaused, atMs)
  }

  /** The same of a limit. */
  recallLimit(id: string, base: number, limit: number, atMs: number): void {
    if (atMs > this.movedMs(id)) this.#limits.set(id, { base, limit, atMs })
  }

  /** When a pool was last paused or resumed; 0 for never. */
  pausedOrResumedMs(pool: string): number {
    return Math.abs(this.#pauses.get(pool) ?? 0)
  }

  /** When a limit was last moved; 0 for never. */
  movedMs(id: string): number {
    return this.#limits.get(id)?.atMs ?? 0
  }

  clear(): void {
    this.#limits.clear()
    this.#pauses.clear()
    this.#coolDowns.clear()
    this.#observed.clear()
  }

  /** A process comes up with its config: a value that differs from what was configured before wins. */
  configure(limits: readonly LimitSpec[], nowMs: number): void {
    for (const { id, limit } of limits) {
      const known = this.#limits.get(id)
      if (known?.base === limit) continue
      // The first value is no news.
      this.#limits.set(id, { base: limit, limit, atMs: known ? this.#wordDate(nowMs) : 0 })
    }
  }

  /** The limit as it was last set. */
  configured(limit: LimitSpec): number {
    return this.#limits.get(limit.id)?.limit ?? limit.limit
  }

  /** A cool-down may be prolonged, never shortened; each prolongation is a new generation. True if it was one. */
  coolDown(pool: string, untilMs: number): boolean {
    const known = this.#coolDowns.get(pool)
    if (known && untilMs <= known.untilMs) return false
    this.#coolDowns.set(pool, { untilMs, generation: (known?.generation ?? 0) + 1, lastMs: 0 })
    return true
  }

  isPaused(pool: string): boolean {
    return (this.#pauses.get(pool) ?? 0) > 0
  }

  /** Until when a cool-down lasts, and its generation; of the past too. */
  coolDownOf(pool: string): CoolDown | undefined {
    return this.#coolDowns.get(pool)
  }

  /** Earliest date of a pool's next grant: after its cool-down, and spaced for a while then. */
  earliestMs(pool: string, nowMs: number): number {
    const known = this.#coolDowns.get(pool)
    if (!known) return nowMs
    if (nowMs >= known.untilMs + RE_ENTRY_MS) {
      this.#coolDowns.delete(pool)
      return nowMs
    }
    const nextMs = known.lastMs === 0 ? 0 : known.lastMs + RE_ENTRY_SPACING_MS
    return Math.max(nowMs, known.untilMs, nextMs)
  }

  /** Notes a grant's date, for the spacing of the next. */
  dated(pool: string, atMs: number): void {
    const known = this.#coolDowns.get(pool)
    if (known) this.#coolDowns.set(pool, { ...known, lastMs: Math.max(known.lastMs, atMs) })
  }

  /** Takes in what a provider's headers said; the newest word counts. */
  observe(id: string, max: number, foreign: number, untilMs: number): void {
    this.#observed.set(id, { max, foreign, untilMs })
  }

  /** A limit as the provider says it is. */
  ceilingSaid(id: string, limit: number): number {
    const said = this.#observed.get(id)?.max ?? 0
    return said > 0 ? Math.min(limit, said) : limit
  }

  /** Spending of a limit that nobody here did, and until when it counts. */
  foreign(id: string, nowMs: number): { readonly amount: number; readonly untilMs: number } {
    const said = this.#observed.get(id)
    return said && nowMs < said.untilMs ? { amount: said.foreign, untilMs: said.untilMs } : NOTHING
  }
}

const NOTHING = { amount: 0, untilMs: 0 }
