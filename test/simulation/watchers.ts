import type { Trace } from './trace.js'
import type { Checker, Violation } from './watch.js'

type Hook = Exclude<keyof Checker, 'invariant' | 'name'>
type Args<K extends Hook> = Parameters<NonNullable<Checker[K]>>

/** The checkers, and what they found. */
export class Watchers {
  readonly violations: Violation[] = []
  #by = new Map<Hook, Checker[]>()
  #current: Checker | undefined

  constructor(
    private readonly nowMs: () => number,
    private readonly trace: Trace,
  ) {}

  use(checkers: readonly Checker[]): void {
    for (const checker of checkers) {
      for (const hook of Object.keys(checker) as Hook[]) {
        if (typeof checker[hook] === 'function') this.#by.set(hook, [...(this.#by.get(hook) ?? []), checker])
      }
    }
  }

  tell<K extends Hook>(hook: K, ...args: Args<K>): void {
    for (const checker of this.#by.get(hook) ?? []) {
      this.#current = checker
      ;(checker[hook] as (...args: Args<K>) => void).call(checker, ...args)
    }
  }

  async atRest(): Promise<void> {
    for (const checker of this.#by.get('atRest') ?? []) {
      this.#current = checker
      await checker.atRest?.()
    }
  }

  /** Reported by the checker that is looking right now. */
  violate(message: string, checker = this.#current): void {
    const { invariant = 0, name = 'no defect inside' } = checker ?? {}
    this.violations.push({ invariant, name, atMs: this.nowMs(), message })
    this.trace.note(`VIOLATION of ${invariant} (${name}): ${message}`)
  }
}
