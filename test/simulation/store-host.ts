import { MemoryGroup } from '../../src/limits/memory-group.js'
import type { ControlChange, Exchange, ExchangeReply, GroupSpec, GroupUsage } from '../../src/limits/store.js'
import type { VirtualClock } from '../../src/testing/virtual-clock.js'

type MaybePromise<T> = T | Promise<T>

/** Where the group's truth is kept, with `now` in the simulation's hands. */
export interface StoreBackend {
  /** Called before anything else. */
  start?(): Promise<void>
  exchange(spec: GroupSpec, exchange: Exchange, nowMs: number): MaybePromise<ExchangeReply>
  control(change: ControlChange, nowMs: number): MaybePromise<void>
  usage(spec: GroupSpec, nowMs: number): MaybePromise<GroupUsage>
  /** FLUSHALL. */
  lose(): MaybePromise<void>
  /** Goes back to what it was at `atMs` (true time). */
  rewind(atMs: number): MaybePromise<void>
  listen(processId: string, wake: () => void): void
  unlisten(processId: string): void
  /** What is left when nobody needs anything any more; empty when all is well. */
  leftovers(): MaybePromise<string[]>
}

type Entry =
  | {
      readonly atMs: number
      readonly spec: GroupSpec
      readonly exchange: Exchange
      readonly nowMs: number
      readonly server: string
    }
  | { readonly atMs: number; readonly change: ControlChange; readonly nowMs: number }

/** The memory group, and a log of all that was done to it: a failover replays it but for its tail. */
export class MemoryBackend implements StoreBackend {
  group = new MemoryGroup()
  #log: Entry[] = []
  #failovers = 0
  readonly #wakes = new Map<string, () => void>()

  /** `rewinds`: whether `rewind` will be called, and the log be needed. */
  constructor(
    private readonly truth: VirtualClock,
    private readonly rewinds: boolean,
  ) {}

  exchange(spec: GroupSpec, exchange: Exchange, nowMs: number): ExchangeReply {
    const server = `s${this.#failovers}`
    if (this.rewinds) this.#log.push({ atMs: this.truth.now(), spec, exchange, nowMs, server })
    return this.group.exchange(spec, exchange, nowMs, server)
  }

  control(change: ControlChange, nowMs: number): void {
    this.#log.push({ atMs: this.truth.now(), change, nowMs })
    this.group.control(change, nowMs)
  }

  usage(spec: GroupSpec, nowMs: number): GroupUsage {
    return this.group.usage(spec, nowMs)
  }

  lose(): void {
    this.#log = []
    this.group.lose()
  }

  rewind(atMs: number): void {
    this.#failovers++
    this.#log = this.#log.filter((entry) => entry.atMs <= atMs)
    this.group = new MemoryGroup()
    for (const entry of this.#log) {
      if ('change' in entry) this.group.control(entry.change, entry.nowMs)
      else this.group.exchange(entry.spec, entry.exchange, entry.nowMs, entry.server)
    }
    for (const [processId, wake] of this.#wakes) this.group.listen(processId, wake)
  }

  listen(processId: string, wake: () => void): void {
    this.#wakes.set(processId, wake)
    this.group.listen(processId, wake)
  }

  unlisten(processId: string): void {
    this.#wakes.delete(processId)
    this.group.unlisten(processId)
  }

  leftovers(): string[] {
    const left: string[] = []
    if (!this.group.isIdle) left.push('the group is not idle: a waiter, a slot or mail is left')
    for (const { id, sum, bucketSum } of this.group.audit()) {
      if (sum !== bucketSum) left.push(`${id}: running sum ${sum}, buckets ${bucketSum}`)
    }
    for (const [id, count] of this.group.auditSlots().held) left.push(`${id}: ${count} slots held`)
    return left
  }
}
