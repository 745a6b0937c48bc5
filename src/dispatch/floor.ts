import type { LimitSpec } from '../limits/store.js'
import { bucketOf, SlidingLog } from '../limits/window.js'

/** Beyond lease, window and guard: clocks may differ by this. */
const MARGIN_MS = 100

/**
 * What a process may spend by itself while the store is out of reach: its floor of each limit, set aside in the store from
 * the end of its lease on. A floor opens once all that anybody was granted before has left the window, and closes when it
 * is set aside no longer. Times are local.
 */
export class Floor {
  readonly #logs: (SlidingLog | undefined)[]
  readonly #inFlight: number[]
  readonly #opensMs: number[]
  readonly closesMs: number

  /** `leaseEndMs`: when the lease ends at the latest; `isolatedMs`: for how long after it the floors are set aside. */
  constructor(
    private readonly limits: readonly LimitSpec[],
    private readonly floors: readonly number[],
    inFlight: readonly (readonly [limit: number, count: number])[],
    leaseEndMs: number,
    isolatedMs: number,
    /** By how much earlier than `leaseEndMs` it may have ended. */
    roundTripMs: number,
  ) {
    this.#logs = limits.map(({ windowMs, holdMs }) => (windowMs > 0 ? new SlidingLog(windowMs, holdMs) : undefined))
    this.#inFlight = limits.map(() => 0)
    for (const [limit, count] of inFlight) this.#inFlight[limit] = count
    this.#opensMs = limits.map(({ windowMs, holdMs }) => leaseEndMs + windowMs + holdMs + MARGIN_MS)
    this.closesMs = leaseEndMs - roundTripMs + isolatedMs - MARGIN_MS
  }

  /** Whether it ever opens for a request that draws on these limits. */
  serves(draws: readonly number[]): boolean {
    return draws.every((index) => (this.floors[index] ?? 0) > 0 && this.#opensMs[index]! < this.closesMs)
  }

  /**
   * When such a request may go, `nowMs` for now; undefined when only the end of a call, or nothing, can help.
   * Nothing is promised beyond `closesMs`, and no slot that a call may still hold by then, `lastsMs` after it went.
   */
  fitsAt(draws: readonly number[], tokens: number, nowMs: number, lastsMs = 0): number | undefined {
    let atMs = nowMs
    let closesMs = this.closesMs
    for (const index of draws) {
      const floor = this.floors[index] ?? 0
      const log = this.#logs[index]
      const cost = this.#costOf(index, tokens)
      atMs = Math.max(atMs, this.#opensMs[index]!)
      if (cost > floor) return undefined
      if (!log) {
        if (this.#inFlight[index]! >= floor) return undefined
        // Without `lastsMs` slots are given back when the lease ends, whatever still runs.
        if (lastsMs > 0) closesMs = Math.min(closesMs, this.closesMs - this.limits[index]!.holdMs - lastsMs)
        continue
      }
      log.expire(nowMs)
      const freeAtMs = log.freeAt(nowMs, cost - (floor - log.sum))
      if (freeAtMs === undefined) return undefined
      atMs = Math.max(atMs, freeAtMs)
    }
    return atMs < closesMs ? atMs : undefined
  }

  take(draws: readonly number[], tokens: number, nowMs: number): void {
    for (const index of draws) {
      const log = this.#logs[index]
      if (log) log.add(bucketOf(nowMs, log.widthMs), this.#costOf(index, tokens))
      else this.#inFlight[index]!++
    }
  }

  /** A call ended: of this floor or begun before it. */
  free(draws: readonly number[]): void {
    for (const index of draws) if (!this.#logs[index]) this.#inFlight[index]!--
  }

  /** A call used more than was taken for it. */
  owe(draws: readonly number[], tokens: number, nowMs: number): void {
    for (const index of draws) {
      const log = this.#logs[index]
      if (log && this.limits[index]!.dimension === 'tokens') log.add(bucketOf(nowMs, log.widthMs), tokens)
    }
  }

  #costOf(index: number, tokens: number): number {
    return this.limits[index]!.dimension === 'tokens' ? tokens : 1
  }
}
