import type { Dimension } from '../limits/store.js'
import type { FailureClass, ProviderFailure } from '../providers/provider.js'

/** What one failed attempt means for the whole fleet. */
export interface Consequences {
  /** The dimension of which the provider allows less than was thought. */
  readonly cut: Dimension | undefined
  /** How long the pool pauses, in ms; 0 for not at all. */
  readonly coolDownMs: number
}

const NONE: Consequences = { cut: undefined, coolDownMs: 0 }
/** A rate or overload 429 without a hint. */
const DEFAULT_COOL_DOWN_MS = 1_000
/** Nobody can mend an empty account within seconds; one probe each time the pause ends finds out when it was. */
const ACCOUNT_PAUSE_MS = 300_000
/** Quotas are by the month at the longest. */
const MAX_COOL_DOWN_MS = 40 * 86_400_000

const COOL_DOWN_MS: Partial<Record<FailureClass, number>> = {
  RLR: DEFAULT_COOL_DOWN_MS,
  RLT: DEFAULT_COOL_DOWN_MS,
  OVL: DEFAULT_COOL_DOWN_MS,
  QUOTA: ACCOUNT_PAUSE_MS,
  BAL: ACCOUNT_PAUSE_MS,
  RESTRICTED: ACCOUNT_PAUSE_MS,
}
/** A retry hint that came with these was not meant for them. */
const NEVER_SHORTER: ReadonlySet<FailureClass> = new Set(['BAL', 'RESTRICTED'])
const CUTS: Partial<Record<FailureClass, Dimension>> = { RLR: 'requests', RLT: 'tokens' }

/** A refusal for too many in flight only cuts the ceiling; one for the rate, load, quota or balance pauses the pool too. */
export function consequencesOf(failure: ProviderFailure): Consequences {
  if (failure.class === 'CONC') return { cut: 'concurrency', coolDownMs: 0 }
  const defaultMs = COOL_DOWN_MS[failure.class]
  if (defaultMs === undefined) return NONE
  const leastMs = NEVER_SHORTER.has(failure.class) ? defaultMs : 0
  const coolDownMs = Math.min(MAX_COOL_DOWN_MS, Math.max(leastMs, failure.retryAfterMs ?? defaultMs))
  return { cut: CUTS[failure.class], coolDownMs }
}

/** Codes are logged, counted and kept: one that quotes the key is none. */
export function withoutKey(failure: ProviderFailure, apiKey: string | undefined): ProviderFailure {
  if (!apiKey || !failure.providerCode?.includes(apiKey)) return failure
  const { providerCode: _, ...rest } = failure
  return rest
}
