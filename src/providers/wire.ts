// What every provider with OpenAI's wire shape has in common: error bodies, usage, finish reasons. Pure.
import {
  type EndEvent,
  type FailureClass,
  failureOf,
  type ProviderFailure,
  type ProviderResponse,
  type Usage,
} from './provider.js'
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
  /** The HTTP status with which the provider usually says so, where that is not its class's. */
  readonly usualStatus?: number | undefined
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

/**
 * Finds `{"error":{…}}`, also as the one item of an array (Gemini) or inside another (an SDK's own wrapping),
 * `{"error":"…"}`, `{"object":"error",…}` (Mistral, vLLM) and GLM's gateway form `{"code":500,"msg":"…","success":false}`.
 */
export function wireErrorOf(rawBody: unknown): WireError | undefined {
  const body = bodyOf(rawBody)
  if (!body) return undefined
  const { error } = body
  if (typeof error === 'string' && error !== '') return { code: '', type: '', message: error }
  const inner = recordOf(error)
  if (inner) return textsOf(recordOf(inner.error) ?? inner)
  return body.object === 'error' || body.success === false ? textsOf(body) : undefined
}

/** The error of a response: under a failure's status a bare `{"code":"…","message":"…"}` is one too. */
export function errorOf(response: ProviderResponse): WireError | undefined {
  const error = wireErrorOf(response.body)
  if (error || isOk(response.status)) return error
  const bare = textsOf(bodyOf(response.body) ?? {})
  return bare.code || bare.type || bare.message ? bare : undefined
}

function textsOf(error: Readonly<Record<string, unknown>>): WireError {
  const { code, type, message, msg, detail } = error
  return { code: textOf(code), type: textOf(type), message: textOf(message) || textOf(msg) || textOf(detail) }
}

/** Whether any choice of a completion (or of a stream's chunk) ended for this reason. */
export function finishedBy(rawBody: unknown, reason: string): boolean {
  const choices = bodyOf(rawBody)?.choices
  return Array.isArray(choices) && choices.some((choice) => recordOf(choice)?.finish_reason === reason)
}

/**
 * Whether a stream of OpenAI's wire is whole by now. Not every server sends `[DONE]`, and some say why they finished with an
 * empty text until they have.
 */
export function endsStream({ data, json }: EndEvent): boolean {
  if (data === '[DONE]') return true
  const choices = recordOf(json)?.choices
  return Array.isArray(choices) && choices.some((choice) => textOf(recordOf(choice)?.finish_reason) !== '')
}

/** The same of Anthropic's wire. */
export function endsMessage({ json }: EndEvent): boolean {
  return recordOf(json)?.type === 'message_stop'
}

/** Usage in OpenAI's shape, of a whole body as of a stream's chunk. */
export function usageOf(rawBody: unknown): Usage | undefined {
  const usage = recordOf(bodyOf(rawBody)?.usage)
  const promptTokens = countOf(usage?.prompt_tokens)
  if (!usage || promptTokens === undefined) return undefined
  const completionTokens = countOf(usage.completion_tokens) ?? 0
  return { promptTokens, completionTokens, totalTokens: countOf(usage.total_tokens) ?? promptTokens + completionTokens }
}

/** Whether a response without an error body is a success: 2xx, with JSON (or with no body, where the caller streams it). */
export function isSuccess(response: ProviderResponse): boolean {
  const { status, body } = response
  if (!isOk(status)) return false
  if (typeof body === 'string') return recordOf(parseBody(body)) !== undefined
  return body === undefined || Object(body) === body
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

/** What a type means where no status says it: in the middle of a stream that began with 200. */
const STATUS_OF_TYPE: ReadonlyMap<string, number> = new Map([
  ['invalid_request_error', 400],
  ['authentication_error', 401],
  ['billing_error', 402],
  ['permission_error', 403],
  ['not_found_error', 404],
  ['request_too_large', 413],
  ['rate_limit_error', 429],
  ['server_error', 500],
  ['api_error', 500],
  ['service_unavailable_error', 503],
  ['overloaded_error', 529],
])

/** The status that counts: under HTTP 200 the one in the error's code (OpenRouter, Gemini), or that its type stands for. */
export function effectiveStatus(response: ProviderResponse, error: WireError): number {
  if (!isOk(response.status)) return response.status
  if (/^[45]\d\d$/.test(error.code)) return Number(error.code)
  return STATUS_OF_TYPE.get(error.type) ?? response.status
}

/** What an error that came under a success would have come under, had its provider been plain about it. */
const USUAL_STATUS: Partial<Record<FailureClass, number>> = {
  ...{ RLR: 429, RLT: 429, CONC: 429, QUOTA: 429, RESTRICTED: 429 },
  ...{ OVL: 503, BAL: 402, AUTH: 401 },
}

function plainStatus(response: ProviderResponse, error: WireError | undefined, verdict: Verdict): number {
  const status = error ? effectiveStatus(response, error) : response.status
  if (!isOk(status)) return status
  return verdict.usualStatus ?? USUAL_STATUS[verdict.class] ?? status
}

/** Codes are logged, counted and kept: a word, not a sentence that might quote the request. */
const PLAIN_CODE = /^[\w.:/-]{1,64}$/

export function failureFrom(
  providerName: string,
  response: ProviderResponse,
  error: WireError | undefined,
  verdict: Verdict,
  nowMs: number,
): ProviderFailure {
  const providerCode = [error?.code, error?.type].find((code) => code && PLAIN_CODE.test(code))
  const retryAfterMs = longestMs(parseRetryAfterMs(response.headers, nowMs), verdict.retryAfterMs)
  const said = error?.message || (typeof response.body === 'string' ? response.body.trim() : '') || 'no message'
  const where = [providerName, response.status, providerCode].filter(Boolean).join(' ')
  const failure = failureOf(verdict.class, `${where}: ${presentable(said)}`, {
    status: plainStatus(response, error, verdict),
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

/** A body as a record: of text that is JSON, and of an array with one item. */
export function bodyOf(rawBody: unknown): Readonly<Record<string, unknown>> | undefined {
  const body = typeof rawBody === 'string' ? parseBody(rawBody) : rawBody
  return recordOf(Array.isArray(body) && body.length === 1 ? body[0] : body)
}

function isOk(status: number): boolean {
  return status >= 200 && status < 300
}

function presentable(message: string): string {
  const clean = message.replace(KEYS, '[key]')
  return clean.length > MAX_MESSAGE_CHARS ? `${clean.slice(0, MAX_MESSAGE_CHARS)}…` : clean
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

export function countOf(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 0 && value <= Number.MAX_SAFE_INTEGER ? value : undefined
}
