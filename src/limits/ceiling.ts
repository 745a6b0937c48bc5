import { type LimitSpec, MAX_PROBE_MS, PROBE_MS } from './store.js'

interface Ceiling {
  readonly value: number
  /** The last level that nothing refused. */
  readonly proven: number
  readonly cutAtMs: number
  /** Last change of `value`. */
  readonly changedAtMs: number
  /** Time between probes. */
  readonly spacingMs: number
  /** Whether the last change was a probe that nothing has refused so far. */
  readonly probing: boolean
}

/** A probe adds one slot, or a twentieth of a rate. */
function stepOf({ windowMs, limit }: LimitSpec): number {
  return windowMs === 0 ? 1 : Math.max(1, Math.ceil(limit / 20))
}

/**
 * Limits as the provider last proved them: additive increase, multiplicative decrease (Chiu & Jain 1989).
 * A limit has no ceiling while its configured value holds.
 */
export class Ceilings {
  readonly #byLimit = new Map<string, Ceiling>()

  effective(id: string, configured: number): number {
    const value = this.#byLimit.get(id)?.value
    return value === undefined ? configured : Math.min(configured, value)
  }

  /** The same, without a probe that is under way. */
  proven(id: string, configured: number): number {
    const ceiling = this.#byLimit.get(id)
    if (!ceiling) return configured
    return Math.min(configured, ceiling.probing ? ceiling.proven : ceiling.value)
  }

  value(id: string): number | undefined {
    return this.#byLimit.get(id)?.value
  }

  /** A store that lost its state takes the lowest that anybody remembers. */
  restore(id: string, value: number, nowMs: number): void {
    const known = this.#byLimit.get(id)
    if (known && known.value <= value) return
    this.#byLimit.set(id, {
      value,
      proven: value,
      cutAtMs: nowMs,
      changedAtMs: nowMs,
      spacingMs: PROBE_MS,
      probing: false,
    })
  }

  /**
   * Learns from a refusal; nothing when its call was granted no later than the last cut, so a burst cuts once. A refused
   * probe restores the proven level; anything else halves what is in flight, or takes a quarter off a rate. Of a call that
   * was granted before the probe nobody can tell whether the probe overtook it or the proven level holds no more: a step
   * below it is dear in neither case. True if it cut.
   */
  cut(spec: LimitSpec, configured: number, inFlight: number, grantedAtMs: number, nowMs: number): boolean {
    const ceiling = this.#byLimit.get(spec.id)
    if (ceiling && grantedAtMs <= ceiling.cutAtMs) return false
    const current = this.effective(spec.id, configured)
    const probe = ceiling?.probing ? ceiling : undefined
    const isProbes = probe !== undefined && grantedAtMs >= probe.changedAtMs
    const reduced = spec.windowMs === 0 ? Math.min(current, inFlight) / 2 : (current * 3) / 4
    const restored = probe && Math.min(probe.proven, current) - (isProbes ? 0 : stepOf(spec))
    const value = Math.max(1, restored ?? Math.floor(reduced))
    const spacingMs = Math.min(MAX_PROBE_MS, (isProbes ? probe.spacingMs : PROBE_MS) * 2)
    this.#byLimit.set(spec.id, { value, proven: value, cutAtMs: nowMs, changedAtMs: nowMs, spacingMs, probing: false })
    return true
  }

  /** Climbs by a step when a probe is due and at least half is used; once the configured limit is proven the ceiling is gone. */
  grow(spec: LimitSpec, configured: number, used: number, nowMs: number): void {
    const ceiling = this.#byLimit.get(spec.id)
    if (!ceiling || nowMs - ceiling.changedAtMs < ceiling.spacingMs || used * 2 < ceiling.value) return
    if (ceiling.value >= configured) {
      this.#byLimit.delete(spec.id)
      return
    }
    const { value: proven, cutAtMs, probing } = ceiling
    const value = Math.min(configured, proven + stepOf(spec))
    const spacingMs = probing ? PROBE_MS : ceiling.spacingMs
    this.#byLimit.set(spec.id, { value, proven, cutAtMs, changedAtMs: nowMs, spacingMs, probing: true })
  }

  clear(): void {
    this.#byLimit.clear()
  }
}
