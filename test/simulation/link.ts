import type { VirtualClock } from '../../src/testing/virtual-clock.js'
import type { PartitionMode } from './plan.js'
import type { Random } from './random.js'

/** How a process's way to the store is at the moment. */
export interface LinkState {
  partition: PartitionMode | undefined
  drop: number
  duplicate: number
  reorder: number
  lostWakes: number
  extraMs: number
}

const STALE_MS = 800

/** A process's connection to the store: in order both ways, with latency and whatever fault is on. */
export class Link {
  readonly state: LinkState = { partition: undefined, drop: 0, duplicate: 0, reorder: 0, lostWakes: 0, extraMs: 0 }
  readonly baseMs: number
  readonly #lastMs = { there: 0, back: 0 }
  #stalled: (() => void)[] = []

  constructor(
    private readonly truth: VirtualClock,
    private readonly random: Random,
  ) {
    this.baseMs = random.between(0.1, 4)
  }

  get connected(): boolean {
    return this.state.partition !== 'reset'
  }

  /** Carries one message; it may come twice or never. */
  send(direction: 'there' | 'back', deliver: () => void): void {
    const { partition, drop, duplicate, reorder } = this.state
    if (partition === 'stall') {
      this.#stalled.push(() => this.#carry(direction, deliver))
      return
    }
    if (partition !== undefined || this.#happens(drop)) return
    if (direction === 'there' && this.#happens(reorder)) {
      // Of a connection that broke: it overtakes nothing and is overtaken by what follows.
      this.truth.setTimeout(deliver, this.random.between(0, STALE_MS))
      return
    }
    this.#carry(direction, deliver)
    if (direction === 'there' && this.#happens(duplicate)) {
      this.truth.setTimeout(deliver, this.random.between(0, STALE_MS))
    }
  }

  /** Wake-ups have a connection of their own, and nobody repeats them. */
  wake(deliver: () => void): void {
    const { partition, drop, lostWakes } = this.state
    if (partition !== undefined || this.#happens(Math.max(drop, lostWakes))) return
    this.truth.setTimeout(deliver, this.#latencyMs())
  }

  /** What a stalled connection kept is delivered once it runs again. */
  release(): void {
    const stalled = this.#stalled
    this.#stalled = []
    for (const carry of stalled) carry()
  }

  #carry(direction: 'there' | 'back', deliver: () => void): void {
    const atMs = Math.max(this.#lastMs[direction], this.truth.now() + this.#latencyMs())
    this.#lastMs[direction] = atMs
    this.truth.setTimeout(deliver, atMs - this.truth.now())
  }

  #latencyMs(): number {
    const { extraMs } = this.state
    const tail = this.random.chance(0.02) ? this.random.exponential(8) : 0
    return this.baseMs * this.random.between(0.8, 1.5) + tail + extraMs * this.random.between(0.5, 1)
  }

  /** Draws only when something may happen: a fault more or less must not change what else does. */
  #happens(share: number): boolean {
    return share > 0 && this.random.chance(share)
  }
}
