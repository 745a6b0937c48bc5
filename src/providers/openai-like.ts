import { classifierOf, type Reading } from './classifier.js'
import type { FailureClass, Profile } from './provider.js'
import { longestMs, parseProseRetryMs } from './retry-after.js'
import * as wire from './wire.js'

const BALANCE_CODES: ReadonlySet<string> = new Set([
  'insufficient_quota',
  'billing_hard_limit_reached',
  'billing_not_active',
])
const FILTER_CODES: ReadonlySet<string> = new Set(['content_filter', 'content_policy_violation'])

/** What a provider with OpenAI's wire does its own way; all else is as OpenAI does it. */
export interface OpenAiLike
  extends Partial<Omit<Profile, 'name' | 'baseURL' | 'classify' | 'classifyChunk'>>,
    Partial<Reading> {
  readonly name: string
  readonly baseURL: string | undefined
}

/**
 * By default `max_tokens` counts up front and nothing is given back: what is not documented is not assumed.
 * A finish_reason `content_filter` is no failure: OpenAI's clients expect to see what came before it.
 */
export function openaiLike({ verdict: ownVerdict, errorIn, finishes, ...own }: OpenAiLike): Profile {
  const verdict: Reading['verdict'] = (error, status, response, nowMs) => {
    const read = ownVerdict?.(error, status, response, nowMs)
    const failureClass = read?.class ?? classOfError(error, status) ?? wire.classOfStatus(status)
    // No wait will ever help a bad request.
    const proseMs = failureClass === 'BAD' ? undefined : parseProseRetryMs(error.message)
    return { class: failureClass, retryAfterMs: longestMs(read?.retryAfterMs, proseMs) }
  }
  return {
    chatPath: wire.CHAT_PATH,
    limitsConcurrency: false,
    refundsEstimate: false,
    countsCompletion: 'up-front',
    streamUsageOnRequest: true,
    authHeaders: wire.bearer,
    usage: wire.usageOf,
    streamUsage: wire.usageOf,
    endsStream: wire.endsStream,
    ...own,
    ...classifierOf(own.name, { verdict, ...(errorIn && { errorIn }), ...(finishes && { finishes }) }),
  }
}

/** By body first: a 429 may be the bill, or a request that is larger than the limit itself. */
function classOfError({ code, type, message }: wire.WireError, status: number): FailureClass | undefined {
  if ([code, type].some((name) => BALANCE_CODES.has(name) || name.endsWith('spend_limit_exceeded'))) return 'BAL'
  if (FILTER_CODES.has(code)) return 'FILTER'
  if (code === 'context_length_exceeded' || /maximum context length/i.test(message)) return 'CTX'
  if (code !== 'rate_limit_exceeded' && status !== 429) return undefined
  if (isLargerThanLimit(message)) return 'BAD'
  if (type === 'tokens' || type === 'requests') return type === 'tokens' ? 'RLT' : 'RLR'
  return /\b(?:tokens per|TPM|TPD|token rate limit)\b/i.test(message) ? 'RLT' : 'RLR'
}

/** `Request too large … Limit 30000, Requested 250011`: no wait will ever help. */
function isLargerThanLimit(message: string): boolean {
  if (/request too large/i.test(message)) return true
  const match = /\bLimit:? (\d+(?:,\d{3})*).*?\bRequested:? (\d+(?:,\d{3})*)/i.exec(message)
  return match !== null && numberOf(match[2]!) > numberOf(match[1]!)
}

/** Its thousands may be grouped by commas. */
function numberOf(digits: string): number {
  return Number(digits.replaceAll(',', ''))
}
