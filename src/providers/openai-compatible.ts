import type { FailureClass, Provider, ProviderFailure, ProviderResponse } from './provider.js'
import { parseProseRetryMs } from './retry-after.js'
import * as wire from './wire.js'

const BALANCE_CODES: ReadonlySet<string> = new Set([
  'insufficient_quota',
  'billing_hard_limit_reached',
  'billing_not_active',
])
const FILTER_CODES: ReadonlySet<string> = new Set(['content_filter', 'content_policy_violation'])

/** A finish_reason `content_filter` is no failure here: OpenAI's clients expect to see what came before it. */
function classify(name: string, response: ProviderResponse, nowMs: number = Date.now()): ProviderFailure | undefined {
  const error = wire.wireErrorOf(response.body)
  if (!error && wire.isSuccess(response)) return undefined
  const status = wire.effectiveStatus(response, error)
  const failureClass = (error && classOfError(error, status)) ?? wire.classOfStatus(status)
  const retryAfterMs = error && failureClass !== 'BAD' ? parseProseRetryMs(error.message) : undefined
  return wire.failureFrom(name, response, error, { class: failureClass, retryAfterMs }, nowMs)
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
  const match = /\bLimit:? (\d+).*?\bRequested:? (\d+)/i.exec(message)
  return match !== null && Number(match[2]) > Number(match[1])
}

/** OpenAI counts max(max_tokens, estimate) up front and gives nothing back, so neither is assumed of those like it. */
function profile(name: string, baseURL: string | undefined): Provider {
  return {
    name,
    baseURL,
    chatPath: wire.CHAT_PATH,
    limitsConcurrency: false,
    refundsEstimate: false,
    authHeaders: wire.bearer,
    classify: (response, nowMs) => classify(name, response, nowMs),
    usage: wire.usageOf,
  }
}

export const openai: Provider = profile('openai', 'https://api.openai.com/v1')
/** Any server with OpenAI's wire shape (vLLM, Ollama, a gateway): the pool says where. */
export const openaiCompatible: Provider = profile('openai-compatible', undefined)
