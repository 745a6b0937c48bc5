import type { Exchange } from '../limits/store.js'
import { FreshMap } from '../registry.js'

type Owing = Pick<Exchange, 'adjustments' | 'freed' | 'cuts' | 'coolDowns' | 'observed' | 'service'>

/** What this process has yet to tell the store, added up: one entry a bucket, limit, pool or flow, whatever the number of grants. */
export class Owed {
  readonly #adjustments = new FreshMap<string, [limit: number, bucket: number, delta: number]>()
  readonly #freed = new FreshMap<number, number>()
  readonly #cuts = new FreshMap<number, number>()
  readonly #coolDowns = new FreshMap<number, number>()
  readonly #observed = new FreshMap<number, readonly [limit: number, max: number, foreign: number, untilMs: number]>()
  readonly #service = new FreshMap<string, [pool: number, tenant: string, flow: string, delta: number]>()

  get isEmpty(): boolean {
    const { size } = this.#adjustments
    const others = [this.#freed, this.#cuts, this.#coolDowns, this.#observed, this.#service]
    return size === 0 && others.every((owed) => owed.size === 0)
  }

  /** Refunds and debts are kept apart: a debt is never lost, a refund never given twice. */
  adjust(limit: number, bucket: number, delta: number): void {
    if (delta === 0) return
    const key = `${limit}:${bucket}:${delta < 0}`
    const known = this.#adjustments.get(key)
    if (known) known[2] += delta
    else this.#adjustments.set(key, [limit, bucket, delta])
  }

  free(limit: number, count: number): void {
    const sum = (this.#freed.get(limit) ?? 0) + count
    if (sum === 0) this.#freed.delete(limit)
    else this.#freed.set(limit, sum)
  }

  /** Of several refusals the one of the latest grant counts. */
  cut(limit: number, grantedAtMs: number): void {
    this.#cuts.set(limit, Math.max(grantedAtMs, this.#cuts.get(limit) ?? 0))
  }

  coolDown(pool: number, untilMs: number): void {
    this.#coolDowns.set(pool, Math.max(untilMs, this.#coolDowns.get(pool) ?? 0))
  }

  /** Until when a cool-down lasts that is not reported yet; 0 for none. */
  coolDownOf(pool: number): number {
    return this.#coolDowns.get(pool) ?? 0
  }

  /** Whether a refusal is to be reported yet: what the store allowed before it knew does not stand. */
  holdsBack(pool: number, draws: readonly number[]): boolean {
    return this.#coolDowns.has(pool) || draws.some((limit) => this.#cuts.has(limit))
  }

  observe(limit: number, max: number, foreign: number, untilMs: number): void {
    this.#observed.set(limit, [limit, max, foreign, untilMs])
  }

  serve(pool: number, tenant: string, flow: string, delta: number): void {
    if (delta === 0) return
    const known = this.#service.get(flow)
    if (known) known[3] += delta
    else this.#service.set(flow, [pool, tenant, flow, delta])
  }

  /** Everything, for one batch. */
  take(): Owing {
    const taken: Owing = {
      adjustments: [...this.#adjustments.values()],
      freed: [...this.#freed],
      cuts: [...this.#cuts],
      coolDowns: [...this.#coolDowns],
      observed: [...this.#observed.values()],
      service: [...this.#service.values()],
    }
    const all = [this.#adjustments, this.#freed, this.#cuts, this.#coolDowns, this.#observed, this.#service]
    for (const owed of all) owed.clear()
    return taken
  }

  /**
   * Owes a batch's news again, under a new process id that declares its slots anew: what may have been applied without
   * what must not be given twice.
   */
  takeBack({ adjustments, cuts, coolDowns }: Owing, mayBeApplied: boolean): void {
    for (const [limit, bucket, delta] of adjustments) if (delta > 0 || !mayBeApplied) this.adjust(limit, bucket, delta)
    for (const [limit, grantedAtMs] of cuts) this.cut(limit, grantedAtMs)
    for (const [pool, untilMs] of coolDowns) this.coolDown(pool, untilMs)
  }

  /** A store that lost its state learns what was spent from journals: corrections of charges it forgot are void. */
  forgetSpending(): void {
    this.#adjustments.clear()
  }

  /** A new process id declares the slots it still holds, and its flows were charged nothing: nothing is left to be put right. */
  forgetFormer(): void {
    this.#freed.clear()
    this.#service.clear()
  }
}

export type { Owing }
