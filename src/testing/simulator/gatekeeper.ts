import { performance } from 'node:perf_hooks'
import { type Enforcer, enforcerOf, type WindowLimit } from './enforcers.js'
import type { LimitFigure, Profile, WireError } from './profile.js'

export interface SimulatorLimits {
  readonly requests?: readonly WindowLimit[]
  readonly tokens?: readonly WindowLimit[]
  readonly concurrency?: number
  /** Concurrency that moves without a word: `values[0]` at first, the next every `everyMs`, the last for good. */
  readonly ceiling?: { readonly values: readonly number[]; readonly everyMs: number }
}

interface Rate {
  readonly dimension: 'requests' | 'tokens'
  readonly enforcer: Enforcer
}

/** Decides, as the provider would, whether a request is let in. */
export class Gatekeeper {
  /** Requests that arrived and are not answered yet. */
  inFlight = 0
  #limits: SimulatorLimits
  #rates: readonly Rate[] = []
  /** When the ceiling was set. */
  #startMs = performance.now()

  constructor(
    private readonly profile: Profile,
    limits: SimulatorLimits,
  ) {
    this.#limits = limits
    this.#build(limits)
  }

  /** Moves limits without a word; what was charged stays charged where only the value moves. */
  set(limits: SimulatorLimits): void {
    this.#build(limits)
    const next = { ...this.#limits, ...limits }
    // Who sets the concurrency says what it is from now on.
    if (limits.concurrency !== undefined && !limits.ceiling) delete (next as { ceiling?: unknown }).ceiling
    this.#limits = next
    if (limits.ceiling) this.#startMs = performance.now()
  }

  get rates(): { dimension: 'requests' | 'tokens'; limit: number; windowMs: number }[] {
    return this.#rates.map(({ dimension, enforcer: { limit, windowMs } }) => ({ dimension, limit, windowMs }))
  }

  concurrency(nowMs: number): number {
    const { ceiling, concurrency = Number.POSITIVE_INFINITY } = this.#limits
    if (!ceiling || ceiling.values.length === 0) return concurrency
    const step = Math.floor((nowMs - this.#startMs) / ceiling.everyMs)
    return ceiling.values[Math.min(step, ceiling.values.length - 1)]!
  }

  /**
   * The refusal, or undefined when the request is let in; only then is it charged, unless refused ones count too.
   * `place`: how many were in flight when it arrived, itself included. Who arrives while its body is read doesn't count.
   */
  admit(nowMs: number, tokens: number, place: number): WireError | undefined {
    const concurrency = this.concurrency(nowMs)
    if (Math.min(place, this.inFlight) > concurrency) {
      return this.profile.refuse({ why: 'concurrency', limit: concurrency })
    }
    const amountOf = (rate: Rate) => (rate.dimension === 'requests' ? 1 : tokens)
    const full = this.#rates.find((rate) => rate.enforcer.waitMs(nowMs, amountOf(rate)) > 0)
    if (!full) {
      for (const rate of this.#rates) rate.enforcer.charge(nowMs, amountOf(rate))
      return undefined
    }
    const { dimension, enforcer } = full
    const requested = amountOf(full)
    const used = enforcer.limit - enforcer.remaining(nowMs)
    if (this.profile.refusedCount) {
      for (const rate of this.#rates) if (rate.dimension === 'requests') rate.enforcer.charge(nowMs, 1)
    }
    // After the charge: the hint has to hold for who follows it.
    const waitMs = enforcer.waitMs(nowMs, requested)
    const { limit, windowMs } = enforcer
    return this.profile.refuse({ why: dimension, limit, windowMs, used, requested, waitMs })
  }

  /** Charges tokens that were not known on arrival; nobody is refused for them, but whoever follows. */
  produce(nowMs: number, tokens: number): void {
    for (const rate of this.#rates) if (rate.dimension === 'tokens') rate.enforcer.charge(nowMs, tokens)
  }

  /** What the profile says in headers about the limits as they stand. */
  headers(nowMs: number): Record<string, string> {
    const figures = this.#rates.map(({ dimension, enforcer }): LimitFigure => {
      const { limit, windowMs } = enforcer
      const [remaining, resetMs] = [enforcer.remaining(nowMs), enforcer.waitMs(nowMs, limit)]
      return { dimension, windowMs, limit, remaining, resetMs }
    })
    return this.profile.limitHeaders(figures, Date.now())
  }

  #build(limits: SimulatorLimits): void {
    const { concurrency = 1 } = limits
    if (!Number.isSafeInteger(concurrency) || concurrency < 0) {
      throw new RangeError(`simulator concurrency: expected a whole number ≥ 0, got ${String(concurrency)}`)
    }
    const build = (dimension: Rate['dimension']): readonly Rate[] => {
      const before = this.#rates.filter((rate) => rate.dimension === dimension)
      const wanted = limits[dimension]
      if (wanted === undefined) return before
      if (!Array.isArray(wanted)) {
        throw new RangeError(
          `simulator ${dimension}: expected an array of { limit, windowMs, kind? }, got ${typeof wanted}`,
        )
      }
      return wanted.map((limit: WindowLimit, index) => {
        const built = enforcerOf({ ...limit, kind: limit.kind ?? this.profile.window })
        const old = before[index]?.enforcer
        if (old?.constructor !== built.constructor || old.windowMs !== built.windowMs)
          return { dimension, enforcer: built }
        old.limit = built.limit
        return { dimension, enforcer: old }
      })
    }
    this.#rates = [...build('requests'), ...build('tokens')]
  }
}
