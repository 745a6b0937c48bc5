import type { FailureClass, ProviderFailure } from '../providers/provider.js'
import type { RequestSpec } from './entry.js'

/** A request in one of the pools that serve its model. */
export interface Way {
  readonly spec: RequestSpec
  /** Estimated; `Infinity` while the pool is paused. */
  readonly waitMs: number
}

export interface Detour {
  /** Another pool may serve what this one never will. */
  readonly mends: boolean
  /** There is one in which it has not failed yet. */
  readonly atOnce: boolean
}

export interface DetourOptions {
  /** Every way there is, the soonest first. */
  readonly ways: () => readonly Way[]
  /** Told that a provider refused a pool's key. */
  readonly onKeyRefused: (pool: string) => void
  readonly onTaken: (pool: string) => void
}

/** They say something of the key or its account, and nothing of the request. */
const OF_THE_ACCOUNT: ReadonlySet<FailureClass> = new Set(['AUTH', 'BAL', 'QUOTA', 'RESTRICTED'])

/** Where one request may go, of the pools that serve its model: what failed it before comes last, or not again. */
export class Detours {
  /** Pools in which an attempt failed, since all were tried. */
  readonly #failed = new Set<string>()
  /** Pools whose account can't serve it, or that it is too large for. */
  readonly #barred = new Set<string>()

  constructor(private readonly options: DetourOptions) {}

  /** The way to take now. */
  best(): RequestSpec | undefined {
    const open = this.#open()
    return (open.find(({ spec }) => !this.#failed.has(nameOf(spec))) ?? open[0])?.spec
  }

  /** Takes the way that a grant was given for, unless it was barred meanwhile. */
  take(spec: RequestSpec): boolean {
    const open = this.#open()
    if (open.length > 0 && !open.some((way) => way.spec === spec)) return false
    this.options.onTaken(nameOf(spec))
    return true
  }

  /** Left of the pause of the pool that is back first, in ms; `Infinity` where nobody knows when that is. */
  coolDownMs(): number {
    return Math.min(...this.#open().map(({ spec }) => spec.pool.coolDownMs()))
  }

  others(taken: RequestSpec): RequestSpec[] {
    return this.#open().flatMap(({ spec }) => (spec === taken ? [] : [spec]))
  }

  /** Keeps the request from a pool. */
  bar(spec: RequestSpec): void {
    this.#barred.add(nameOf(spec))
  }

  /** Takes a failed attempt in. */
  failed(spec: RequestSpec, failure: ProviderFailure): Detour {
    const ofAccount = OF_THE_ACCOUNT.has(failure.class)
    if (failure.class === 'AUTH') this.options.onKeyRefused(nameOf(spec))
    if (ofAccount) this.bar(spec)
    this.#failed.add(nameOf(spec))
    // A pool that is paused helps nobody, for all one knows.
    const open = this.#open().filter(({ waitMs }) => waitMs < Number.POSITIVE_INFINITY)
    const atOnce = open.some((way) => !this.#failed.has(nameOf(way.spec)))
    if (!atOnce) this.#failed.clear()
    return { mends: ofAccount && open.length > 0, atOnce }
  }

  #open(): Way[] {
    return this.options.ways().filter(({ spec }) => !this.#barred.has(nameOf(spec)))
  }
}

function nameOf(spec: RequestSpec): string {
  return spec.pool.config.name
}
