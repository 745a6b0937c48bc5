import type { Adjustment, LimitSpec } from '../limits/store.js'
import { SlidingLog } from '../limits/window.js'

/** What this process itself spent in each window, in store time: for a store that forgot it. */
export class Journal {
  #logs: (SlidingLog | undefined)[]

  constructor(private readonly limits: readonly LimitSpec[]) {
    this.#logs = limits.map(({ windowMs, holdMs }) => (windowMs > 0 ? new SlidingLog(windowMs, holdMs) : undefined))
  }

  add(limit: number, bucket: number, amount: number): void {
    this.#logs[limit]?.add(bucket, amount)
  }

  refund(limit: number, bucket: number, amount: number): void {
    this.#logs[limit]?.refund(bucket, amount)
  }

  expire(nowMs: number): void {
    for (const log of this.#logs) log?.expire(nowMs)
  }

  /** The store's clock jumped: what was spent lies where it reads now. */
  shift(byMs: number): void {
    this.#logs = this.limits.map(({ windowMs, holdMs }, index) => {
      const old = this.#logs[index]
      if (!old) return undefined
      const log = new SlidingLog(windowMs, holdMs)
      for (const [bucket, amount] of old.buckets()) log.add(bucket + Math.ceil(byMs / log.widthMs), amount)
      return log
    })
  }

  get charges(): Adjustment[] {
    const charges: Adjustment[] = []
    this.#logs.forEach((log, index) => {
      for (const [bucket, amount] of log?.buckets() ?? []) if (amount > 0) charges.push([index, bucket, amount])
    })
    return charges
  }
}
