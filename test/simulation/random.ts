/** Repeatable randomness: one stream for each purpose, so that dropping one event does not change the others. */
export class Random {
  #state: number

  constructor(private readonly seed: number) {
    this.#state = seed >>> 0
  }

  /** A stream of its own, which depends on nothing but the seed and the label. */
  fork(label: string): Random {
    let hash = 2166136261 ^ this.seed
    for (let at = 0; at < label.length; at++) hash = Math.imul(hash ^ label.charCodeAt(at), 16777619)
    return new Random(mix(hash))
  }

  /** Uniform in [0, 1) (mulberry32). */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low)
  }

  /** A whole number from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  chance(share: number): boolean {
    return this.next() < share
  }

  pick<T>(from: readonly T[]): T {
    return from[this.int(0, from.length - 1)]!
  }

  exponential(mean: number): number {
    return -Math.log(1 - this.next()) * mean
  }
}

function mix(hash: number): number {
  let h = hash >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
