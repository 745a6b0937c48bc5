import { parseDurationMs, type Rate } from '../../../durations.js'
import type { TraceSummary } from './trace.js'

/** The limits of the one pool that is replayed. */
export interface ReplayLimits {
  readonly requests: readonly Rate[]
  readonly tokens: readonly Rate[]
  readonly concurrency?: number
}

const MINUTE_MS = 60_000
/** GLM's accounts begin here; fewer would be about the concurrency limit alone. */
const MIN_CONCURRENCY = 5

/** Limits under which the trace's mean use is the share `busy` of each. */
export function deriveLimits(summary: TraceSummary, busy: number, latencyMs: number): Required<ReplayLimits> {
  // A trace shorter than a minute is one minute's work.
  const durationMs = Math.max(MINUTE_MS, summary.durationMs)
  const perMinute = (amount: number) => Math.ceil(((amount / durationMs) * MINUTE_MS) / busy)
  const inFlight = (summary.rows * latencyMs) / durationMs
  return {
    requests: [{ limit: Math.max(1, perMinute(summary.rows)), windowMs: MINUTE_MS }],
    tokens: [{ limit: Math.max(summary.maxTokens, perMinute(summary.tokens)), windowMs: MINUTE_MS }],
    concurrency: Math.max(MIN_CONCURRENCY, Math.ceil(inFlight / busy)),
  }
}

/** The same limits on a time line that runs `speed` times faster. */
export function scaleLimits({ requests, tokens, concurrency }: ReplayLimits, speed: number): ReplayLimits {
  const scale = ({ limit, windowMs }: Rate) => ({ limit, windowMs: Math.max(1, Math.round(windowMs / speed)) })
  return {
    requests: requests.map(scale),
    tokens: tokens.map(scale),
    ...(concurrency !== undefined && { concurrency }),
  }
}

export function describeLimits({ requests, tokens, concurrency }: ReplayLimits): string {
  const rates = [
    ...requests.map(({ limit, windowMs }) => `${limit} requests per ${spell(windowMs)}`),
    ...tokens.map(({ limit, windowMs }) => `${limit} LLM tokens per ${spell(windowMs)}`),
    ...(concurrency === undefined ? [] : [`${concurrency} in flight`]),
  ]
  return rates.join(', ')
}

/** A window or a stretch of time, for people. */
export function spell(durationMs: number): string {
  for (const [unit, text] of [
    [parseDurationMs('1d'), 'd'],
    [parseDurationMs('1h'), 'h'],
    [MINUTE_MS, 'min'],
    [1_000, 's'],
  ] as const) {
    if (durationMs >= unit) return `${Number((durationMs / unit).toFixed(2))} ${text}`
  }
  return `${Math.round(durationMs)} ms`
}
