/** A seeded generator (mulberry32): uniform in [0, 1), the same sequence for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export type Latency = number | { readonly p50Ms: number; readonly p99Ms: number }

/** 99 of 100 standard normals lie below this. */
const Z99 = 2.326

/** Draws from a log-normal with these percentiles, or a constant. */
export function latencyMs(latency: Latency, random: () => number): number {
  if (typeof latency === 'number') return latency
  const { p50Ms, p99Ms } = latency
  const sigma = Math.log(Math.max(1, p99Ms / p50Ms)) / Z99
  // Box–Muller; 1 − u keeps the logarithm finite.
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return p50Ms * Math.exp(sigma * normal)
}
