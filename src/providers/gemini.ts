import { classifierOf, type Reading } from './classifier.js'
import type { FailureClass, Profile, Usage } from './provider.js'
import { pacificMidnightMs } from './resets.js'
import { longestMs, parseGoDurationMs, parseProseRetryMs } from './retry-after.js'
import * as wire from './wire.js'

const verdict: Reading['verdict'] = (error, status, response, nowMs) => {
  const { message } = error
  if (/api key (?:not valid|expired)/i.test(message)) return { class: 'AUTH' } // under a 400
  if (/token count.*exceeds the maximum/i.test(message)) return { class: 'CTX' }
  const { statusName, quotas, retryDelay } = detailsOf(response.body)
  if (status !== 429 && statusName !== 'RESOURCE_EXHAUSTED') return undefined
  const failureClass = classOfQuotas(quotas)
  // The delay comes with a day's quota too, where it says nothing.
  const resetMs = failureClass === 'QUOTA' ? Math.ceil(pacificMidnightMs(nowMs) - nowMs) : undefined
  return {
    class: failureClass,
    retryAfterMs: longestMs(parseGoDurationMs(retryDelay), parseProseRetryMs(message), resetMs),
  }
}

/** Several may be violated at once: the longest decides. Each is an id and a metric. */
function classOfQuotas(quotas: readonly string[]): FailureClass {
  if (quotas.some((quota) => /per_?day/i.test(quota))) return 'QUOTA'
  return quotas.some((quota) => /tokens?/i.test(quota)) ? 'RLT' : 'RLR'
}

function detailsOf(rawBody: unknown) {
  const error = wire.recordOf(wire.bodyOf(rawBody)?.error)
  const details = (Array.isArray(error?.details) ? error.details : []).map((item) => wire.recordOf(item) ?? {})
  const violations = details.flatMap(({ violations }) => (Array.isArray(violations) ? violations : []))
  return {
    statusName: wire.textOf(error?.status),
    quotas: violations.map((item) => {
      const violation = wire.recordOf(item)
      return `${wire.textOf(violation?.quotaId)} ${wire.textOf(violation?.quotaMetric)}`
    }),
    retryDelay: details.map((detail) => wire.textOf(detail.retryDelay)).find((delay) => delay !== '') ?? '',
  }
}

/** OpenAI's fields, or `usageMetadata` of the native path; every chunk has them, and the last one holds. */
function usageOf(rawBody: unknown): Usage | undefined {
  const compatible = wire.usageOf(rawBody)
  const native = wire.recordOf(wire.bodyOf(rawBody)?.usageMetadata)
  const promptTokens = wire.countOf(native?.promptTokenCount)
  if (compatible || !native || promptTokens === undefined) return compatible
  const completionTokens =
    (wire.countOf(native.candidatesTokenCount) ?? 0) + (wire.countOf(native.thoughtsTokenCount) ?? 0)
  const totalTokens = wire.countOf(native.totalTokenCount) ?? promptTokens + completionTokens
  return { promptTokens, completionTokens, totalTokens }
}

/** The path that is compatible with OpenAI's; errors are Google's own, in an array of one. */
export const gemini: Profile = {
  name: 'gemini',
  baseURL: 'https://generativelanguage.googleapis.com/v1beta/openai',
  chatPath: wire.CHAT_PATH,
  limitsConcurrency: false,
  // Its token limit is about input alone, and counts what the input was.
  refundsEstimate: true,
  countsCompletion: 'never',
  streamUsageOnRequest: false,
  // Not with x-goog-api-key besides: two credentials are refused.
  authHeaders: wire.bearer,
  ...classifierOf('gemini', { verdict }),
  usage: usageOf,
  streamUsage: usageOf,
  endsStream: wire.endsStream,
}
