// What a model's requests really took, next to what was estimated. Pure and deterministic: ages by samples, not by time.
import type { Usage } from './provider.js'

/** Reserved is what so large a share of the requests stays within. */
const QUANTILE = 0.95
/** Fewer say nothing of a share so small as the one above it. */
const LEAST_SAMPLES = 20
/** A sample weighs half as much after so many more. */
const HALF_LIFE = 200
const MAX_WEIGHT = 2 ** 40

/**
 * A quantile of a stream in constant memory: buckets that grow geometrically, so that it is exact to within one of them
 * (C. Masson, J. Rim, H. Lee: DDSketch, VLDB 2019), and weights that grow with every sample, so that the old fades
 * (G. Cormode et al.: Forward Decay, ICDE 2009).
 */
export class DecayingQuantile {
  readonly #weights: Float64Array
  readonly #logGrowth: number
  #total = 0
  #weight = 1

  /** Values from `least` to `most`; what lies beyond counts as the nearer of them. Buckets grow by the factor `growth`. */
  constructor(
    private readonly least: number,
    most: number,
    private readonly growth: number,
  ) {
    this.#logGrowth = Math.log(growth)
    this.#weights = new Float64Array(Math.ceil(Math.log(most / least) / this.#logGrowth) + 1)
  }

  add(value: number): void {
    const bucket = value <= this.least ? 0 : Math.ceil(Math.log(value / this.least) / this.#logGrowth - 1e-9)
    this.#weights[Math.min(bucket, this.#weights.length - 1)]! += this.#weight
    this.#total += this.#weight
    this.#weight *= 2 ** (1 / HALF_LIFE)
    if (this.#weight > MAX_WEIGHT) this.#rescale()
  }

  /** The upper end of the bucket that it falls into. */
  at(quantile: number): number {
    let above = this.#total * (1 - quantile)
    let bucket = this.#weights.length - 1
    while (bucket > 0 && above >= this.#weights[bucket]!) above -= this.#weights[bucket--]!
    return this.least * this.growth ** bucket
  }

  #rescale(): void {
    for (let bucket = 0; bucket < this.#weights.length; bucket++) this.#weights[bucket]! /= this.#weight
    this.#total /= this.#weight
    this.#weight = 1
  }
}

/** What is known of one model, and shown by `stats()`. */
export interface CalibrationStats {
  /** Requests whose usage the provider told. */
  readonly samples: number
  /** Reserved for a prompt, of what was estimated for it: 95 of 100 stay within. */
  readonly promptFactor: number
  /** Reserved for an answer whose length the request does not limit; undefined while too little is known. */
  readonly completionTokens: number | undefined
  /** Requests that took more than was reserved, and by how many LLM tokens in all: what became debt. */
  readonly overruns: number
  readonly overrunTokens: number
}

interface Observed {
  readonly promptTokens: number
  readonly capped: boolean
  /** That share the completion's tokens. Default 1. */
  readonly answers?: number
}

/** Learns one model: estimates in, what to reserve out. */
export class Calibration {
  readonly #ratios = new DecayingQuantile(1 / 16, 16, 1.02)
  readonly #completions = new DecayingQuantile(1, 2 ** 20, 1.05)
  #samples = 0
  #uncapped = 0
  #overruns = 0
  #overrunTokens = 0
  #promptFactor = 1
  #completionTokens: number | undefined

  get promptFactor(): number {
    return this.#promptFactor
  }

  get completionTokens(): number | undefined {
    return this.#completionTokens
  }

  get stats(): CalibrationStats {
    return {
      samples: this.#samples,
      promptFactor: this.#promptFactor,
      completionTokens: this.#completionTokens,
      overruns: this.#overruns,
      overrunTokens: this.#overrunTokens,
    }
  }

  /** `promptTokens` as estimated before any factor; `capped` where the request limited its answer, which then says little. */
  observe({ promptTokens, capped, answers = 1 }: Observed, usage: Usage): void {
    if (promptTokens > 0 && usage.promptTokens > 0) {
      this.#samples++
      this.#ratios.add(usage.promptTokens / promptTokens)
      if (this.#samples >= LEAST_SAMPLES) this.#promptFactor = this.#ratios.at(QUANTILE)
    }
    if (capped) return
    this.#uncapped++
    this.#completions.add(usage.completionTokens / answers)
    if (this.#uncapped >= LEAST_SAMPLES) this.#completionTokens = Math.ceil(this.#completions.at(QUANTILE))
  }

  overran(tokens: number): void {
    this.#overruns++
    this.#overrunTokens += tokens
  }
}
