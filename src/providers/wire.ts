// What every provider with OpenAI's wire shape has in common: error bodies, usage, finish reasons. Pure.
import { type FailureClass, failureOf, type ProviderFailure, type ProviderResponse, type Usage } from './provider.js'
import { longestMs, parseRetryAfterMs, parseShouldRetry } from './retry-after.js'

export const CHAT_PATH = '/chat/completions'
const MAX_MESSAGE_CHARS = 500
/** OpenAI's `sk-…`, GLM's `id.secret`, any bearer: providers echo keys in their 401s, not all of them masked. */
const KEYS = /\b(?:sk-|bearer\s+)[\w.*-]{6,}|\b[0-9a-f]{32}\.\w{16}\b/gi

/** The error in a body, whatever its shape; absent parts are empty strings. */
export interface WireError {
  readonly code: string
  readonly type: string
  readonly message: string
}

export interface Verdict {
  readonly class: FailureClass
  /** A hint found in the body, in ms. */
  readonly retryAfterMs?: number | undefined
}

export function bearer(apiKey: string): Record<string, string> {
  return { authorization: `Bearer ${apiKey}` }
}

/** JSON where it is some, even after the blank lines that a provider sends to keep a queued call alive; else the text. */
export function parseBody(text: string): unknown {
  try {
    return JSON.parse(text) // leading line breaks are whitespace to JSON
  } catch {
    return text
  }
}

/** Finds `{"error":{…}}`, `{"error":"…"}` and GLM's gateway form `{"code":500,"msg":"…","success":false}`. */
export function wireErrorOf(rawBody: unknown): WireError | undefined {
  const body = recordOf(typeof rawBody === 'string' ? parseBody(rawBody) : rawBody)
  if (!body) return undefined
  const { error } = body
  if (typeof error === 'string' && error !== '') return { code: '', type: '', message: error }
  const inner = recordOf(error)
  if (inner) return { code: textOf(inner.code), type: textOf(inner.type), message: textOf(inner.message) }
  if (body.success === false) {
    return { code: textOf(body.code), type: '', message: textOf(body.msg) || textOf(body.message) }
  }
  return undefined
}

/** Whether any choice of a completion (or of a stream's chunk) ended for this reason. */
export function finishedBy(rawBody: unknown, reason: string): boolean {
  const choices = recordOf(typeof rawBody === 'string' ? parseBody(rawBody) : rawBody)?.choices
  return Array.isArray(choices) && choices.some((choice) => recordOf(choice)?.finish_reason === reason)
}

export function usageOf(rawBody: unknown): Usage | undefined {
  const usage = recordOf(recordOf(typeof rawBody === 'string' ? parseBody(rawBody) : rawBody)?.usage)
  const promptTokens = countOf(usage?.prompt_tokens)
  if (!usage || promptTokens === undefined) return undefined
  const completionTokens = countOf(usage.completion_tokens) ?? 0
  return { promptTokens, completionTokens, totalTokens: countOf(usage.total_tokens) ?? promptTokens + completionTokens }
}

/** Whether a response without an error body is a success: 2xx, with JSON (or with no body, where the caller streams it). */
export function isSuccess(response: ProviderResponse): boolean {
  return (
    isOk(response.status) && (typeof response.body !== 'string' || recordOf(parseBody(response.body)) !== undefined)
  )
}

/** The last resort, when the body says nothing that is known. */
export function classOfStatus(status: number): FailureClass {
  switch (status) {
    case 401:
    case 403:
      return 'AUTH'
    case 402:
      return 'BAL'
    case 408:
      return 'TMO'
    case 429:
      return 'RLR'
    case 498: // Groq: capacity exceeded
    case 503:
    case 529: // Anthropic: overloaded
      return 'OVL'
  }
  if (isOk(status)) return 'SRV' // an error, or no JSON at all, under 200
  if (status >= 500) return 'SRV'
  return status >= 400 ? 'BAD' : 'UNKNOWN'
}

/** The status that counts: OpenRouter puts the true one into the error's code under HTTP 200. */
export function effectiveStatus(response: ProviderResponse, error: WireError | undefined): number {
  if (!isOk(response.status) || !error || !/^[45]\d\d$/.test(error.code)) return response.status
  return Number(error.code)
}

export function failureFrom(
  providerName: string,
  response: ProviderResponse,
  error: WireError | undefined,
  verdict: Verdict,
  nowMs: number,
): ProviderFailure {
  const providerCode = error?.code || error?.type
  const retryAfterMs = longestMs(parseRetryAfterMs(response.headers, nowMs), verdict.retryAfterMs)
  const said = error?.message || (typeof response.body === 'string' ? response.body.trim() : '') || 'no message'
  const where = [providerName, response.status, providerCode].filter(Boolean).join(' ')
  const failure = failureOf(verdict.class, `${where}: ${presentable(said)}`, {
    status: response.status,
    body: response.body,
    ...(providerCode ? { providerCode } : {}),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
  const shouldRetry = parseShouldRetry(response.headers)
  // What the body says is more exact than the header, so the header's yes only decides what is unknown; its no always holds.
  if (shouldRetry === undefined || (shouldRetry && failure.class !== 'UNKNOWN')) return failure
  return { ...failure, retryable: shouldRetry }
}

export function recordOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined
}

function isOk(status: number): boolean {
  return status >= 200 && status < 300
}

function presentable(message: string): string {
  const clean = message.replace(KEYS, '[key]')
  return clean.length > MAX_MESSAGE_CHARS ? `${clean.slice(0, MAX_MESSAGE_CHARS)}…` : clean
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

function countOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
}
