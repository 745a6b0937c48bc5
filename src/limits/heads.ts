import { CLAIM_MS } from './store.js'

/** A process's oldest waiter that a limit keeps back; later arrivals elsewhere stay behind it. */
export interface Head {
  readonly sinceMs: number
  readonly cost: number
  /** When it fits (rate), or when it was told that it does (concurrency, 0 before). */
  fitAtMs: number
}

/** The heads of all processes, by the limit that keeps them back: one a process and limit. */
export class Heads {
  readonly #byLimit = new Map<string, Map<string, Head>>()

  /** Adds a head unless the process has one at this limit. */
  add(limitId: string, processId: string, head: Head): void {
    let heads = this.#byLimit.get(limitId)
    if (!heads) {
      heads = new Map()
      this.#byLimit.set(limitId, heads)
    }
    if (!heads.has(processId)) heads.set(processId, head)
  }

  drop(processId: string): void {
    for (const [limitId, heads] of this.#byLimit) {
      if (heads.delete(processId) && heads.size === 0) this.#byLimit.delete(limitId)
    }
  }

  /** What other processes' heads that came before `sinceMs` need of a limit, unless they let their turn lapse. */
  olderCost(limitId: string, processId: string, sinceMs: number, nowMs: number): number {
    let cost = 0
    for (const [id, head] of this.#byLimit.get(limitId) ?? []) {
      const lapsed = head.fitAtMs > 0 && nowMs >= head.fitAtMs + CLAIM_MS
      if (id !== processId && head.sinceMs < sinceMs && !lapsed) cost += head.cost
    }
    return cost
  }

  /** Wakes the heads of other processes that fit into `free` now and don't know it yet, oldest first. */
  wake(limitId: string, processId: string, free: number, nowMs: number, tell: (processId: string) => void): void {
    const heads = [...(this.#byLimit.get(limitId) ?? [])]
      .filter(([id]) => id !== processId)
      .sort(([idA, a], [idB, b]) => a.sinceMs - b.sinceMs || (idA < idB ? -1 : 1))
    let left = free
    for (const [id, head] of heads) {
      if (head.cost > left) break
      left -= head.cost
      if (head.fitAtMs > 0 && head.fitAtMs <= nowMs) continue
      head.fitAtMs = nowMs
      tell(id)
    }
  }
}
