import type { ControlChange, LimitSpec } from './store.js'

/** What operators and providers said of a group: pauses, cool-downs, moved limits. */
export class Control {
  readonly #overrides = new Map<string, { readonly base: number; readonly limit: number }>()
  readonly #paused = new Set<string>()
  readonly #coolDowns = new Map<string, number>()

  apply(change: ControlChange): void {
    if (change.type === 'pause') this.#paused.add(change.pool)
    else if (change.type === 'limit') this.#overrides.set(change.id, { base: change.base, limit: change.limit })
    else {
      this.#paused.delete(change.pool)
      this.#coolDowns.delete(change.pool)
    }
  }

  /** A cool-down may be prolonged, never shortened. */
  coolDown(pool: string, untilMs: number): void {
    if (untilMs > (this.#coolDowns.get(pool) ?? 0)) this.#coolDowns.set(pool, untilMs)
  }

  /** `Infinity` while paused, 0 when neither paused nor ever cooled down. */
  pausedUntil(pool: string): number {
    return this.#paused.has(pool) ? Number.POSITIVE_INFINITY : (this.#coolDowns.get(pool) ?? 0)
  }

  /** The limit as it was last set: an override holds while processes are configured with what it replaced. */
  configured(limit: LimitSpec): number {
    const override = this.#overrides.get(limit.id)
    return override && override.base === limit.limit ? override.limit : limit.limit
  }
}
