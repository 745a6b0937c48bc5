import { MAX_PROBE_MS, PROBE_MS } from './store.js'

interface Ceiling {
  readonly value: number
  readonly cutAtMs: number
  /** Last change of `value`. */
  readonly changedAtMs: number
  /** Time between probes. */
  readonly spacingMs: number
  /** Whether the last change was a probe that nothing has refused so far. */
  readonly probing: boolean
}

/**
 * Concurrency limits as the provider last proved them: additive increase, multiplicative decrease (Chiu & Jain 1989).
 * A limit has no ceiling while its configured value holds.
 */
export class Ceilings {
  readonly #byLimit = new Map<string, Ceiling>()

  effective(id: string, configured: number): number {
    return Math.min(configured, this.#byLimit.get(id)?.value ?? configured)
  }

  /**
   * Learns from a refusal for too many in flight; nothing when its call was granted no later than the last cut, so a
   * burst cuts once. A refused probe restores the proven level, anything else halves.
   */
  cut(id: string, configured: number, inFlight: number, grantedAtMs: number, nowMs: number): void {
    const ceiling = this.#byLimit.get(id)
    if (ceiling && grantedAtMs <= ceiling.cutAtMs) return
    const current = this.effective(id, configured)
    const probing = ceiling?.probing ?? false
    const value = Math.max(1, probing ? current - 1 : Math.floor(Math.min(current, inFlight) / 2))
    const spacingMs = probing ? Math.min(MAX_PROBE_MS, (ceiling?.spacingMs ?? PROBE_MS) * 2) : PROBE_MS
    this.#byLimit.set(id, { value, cutAtMs: nowMs, changedAtMs: nowMs, spacingMs, probing: false })
  }

  /** Climbs by one when a probe is due and at least half is used; at the configured limit the ceiling is gone. */
  grow(id: string, configured: number, inFlight: number, nowMs: number): void {
    const ceiling = this.#byLimit.get(id)
    if (!ceiling || nowMs - ceiling.changedAtMs < ceiling.spacingMs || inFlight * 2 < ceiling.value) return
    const value = ceiling.value + 1
    const spacingMs = ceiling.probing ? PROBE_MS : ceiling.spacingMs
    if (value >= configured) this.#byLimit.delete(id)
    else this.#byLimit.set(id, { ...ceiling, value, changedAtMs: nowMs, spacingMs, probing: true })
  }
}
