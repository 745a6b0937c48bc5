import type { DispatcherEventNotice } from '../events.js'
import { kindIn } from '../limits/kind.js'
import type { ControlChange, GroupSpec } from '../limits/store.js'
import type { Known } from './session.js'

/**
 * What operators said through this process. It knows that as soon as the store took it, though a reply may be on its way
 * that was written before.
 */
export class Words {
  /** By pool or limit, with the local time at which the store had taken it. */
  readonly #said = new Map<string, { readonly change: ControlChange; readonly atMs: number }>()

  /** By limit id, the last value of the fleet that was told of, or said here. */
  readonly #told = new Map<string, number>()

  /** Kinds that others of the fleet are of, once told of. */
  readonly #strange = new Set<string>()
  #roster: Known['roster'] = []

  constructor(
    private readonly spec: GroupSpec,
    private readonly known: Known,
    private readonly name: string,
  ) {}

  said(change: ControlChange, nowMs: number): void {
    this.#said.set(change.type === 'limit' ? change.id : change.pool, { change, atMs: nowMs })
    if (change.type === 'limit') this.#told.set(change.id, change.limit)
    this.#apply(change)
  }

  /** Tells of limits that stand otherwise than they are configured here, and of processes that keep others; of each once. */
  differ(tell: (news: Pick<DispatcherEventNotice, 'type' | 'limit' | 'others'>) => void): void {
    this.#differInKind(tell)
    for (const [index, fleet] of this.known.overrides) {
      const { id, limit: here } = this.spec.limits[index]!
      if (this.#told.get(id) === fleet) continue
      this.#told.set(id, fleet)
      tell({ type: 'limit-differs', limit: { id, here, fleet } })
    }
  }

  #differInKind(tell: (news: Pick<DispatcherEventNotice, 'type' | 'others'>) => void): void {
    if (this.known.roster === this.#roster) return
    this.#roster = this.known.roster
    const own = kindIn(this.name)
    const strangers = this.#roster.map(kindIn).filter((kind) => kind !== own)
    Object.assign(this.known, { others: strangers.length })
    if (strangers.every((kind) => this.#strange.has(kind))) return
    for (const kind of strangers) this.#strange.add(kind)
    tell({ type: 'config-differs', others: strangers.length })
  }

  /** The answer to a batch was taken in: what was sent before a word may not know of it. */
  correct(sentMs: number): void {
    for (const [about, { change, atMs }] of this.#said) {
      if (sentMs > atMs) this.#said.delete(about)
      else this.#apply(change)
    }
  }

  #apply(change: ControlChange): void {
    const { limits, pools } = this.spec
    const { paused, coolDowns, overrides } = this.known
    if (change.type === 'limit') {
      const index = limits.findIndex(({ id }) => id === change.id)
      const others = overrides.filter(([its]) => its !== index)
      const isMoved = change.limit !== limits[index]?.limit
      Object.assign(this.known, { overrides: isMoved ? [...others, [index, change.limit]] : others })
      return
    }
    const pool = pools.indexOf(change.pool)
    const others = paused.filter((its) => its !== pool)
    if (change.type === 'pause') Object.assign(this.known, { paused: [...others, pool] })
    else Object.assign(this.known, { paused: others, coolDowns: coolDowns.filter(([its]) => its !== pool) })
  }
}
