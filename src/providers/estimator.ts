import { answersOf, type ApiName, estimateOf } from './apis.js'
import { Calibration, type CalibrationStats } from './calibration.js'
import { tokensCounted, tokensToReserve } from './charge.js'
import type { Provider, Usage } from './provider.js'
import type { Tokenizers } from './tokenizer.js'

/** Names may come from callers: beyond so many they are learned as one. */
const MAX_MODELS = 64
const OTHERS = '(others)'

export interface EstimatorOptions {
  readonly provider: Provider
  /** Left out: texts are counted by their characters. */
  readonly tokenizers?: Tokenizers | undefined
  /** What one request may take of the tightest limit: a calibrated estimate won't turn away what fits without. */
  readonly maxTokens: number
}

/** What a request reserves, and where to tell what it took. */
export interface Reservation {
  readonly tokens: number
  readonly observe: (usage: Usage) => void
}

/** Estimates the requests of one pool, and learns from what they took, model by model. */
export class Estimator {
  readonly #options: EstimatorOptions
  readonly #models = new Map<string, Calibration>()

  constructor(options: EstimatorOptions) {
    this.#options = options
  }

  reserve(api: ApiName, body: Readonly<Record<string, unknown>>, model: string): Reservation {
    const { provider, tokenizers, maxTokens } = this.#options
    const estimate = estimateOf(api, body, tokenizers?.counterOf(model))
    const calibration = this.#calibrationOf(api === 'chat' ? model : `${model} ${api}`)
    const promptTokens = Math.ceil(estimate.promptTokens * calibration.promptFactor)
    const known = estimate.capped ? undefined : calibration.completionTokens
    const answers = answersOf(api, body)
    const completionTokens = known === undefined ? estimate.completionTokens : known * answers
    const calibrated = tokensToReserve(provider, { promptTokens, total: promptTokens + completionTokens })
    const tokens = calibrated > maxTokens ? Math.min(calibrated, tokensToReserve(provider, estimate)) : calibrated
    return {
      tokens,
      observe: (usage) => {
        calibration.observe({ promptTokens: estimate.promptTokens, capped: estimate.capped, answers }, usage)
        const over = tokensCounted(provider, usage) - tokens
        if (over > 0) calibration.overran(over)
      },
    }
  }

  /** By model; of other calls than chat with their name behind it. */
  get stats(): Readonly<Record<string, CalibrationStats>> {
    return Object.fromEntries([...this.#models].map(([model, calibration]) => [model, calibration.stats]))
  }

  #calibrationOf(name: string): Calibration {
    const key = this.#models.has(name) || this.#models.size < MAX_MODELS ? name : OTHERS
    const known = this.#models.get(key)
    if (known) return known
    const calibration = new Calibration()
    this.#models.set(key, calibration)
    return calibration
  }
}
