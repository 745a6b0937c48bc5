import { openaiChat } from '../completion.js'
import { EMBEDDINGS } from '../embeddings.js'
import {
  apisBelow,
  COMMON,
  fromTable,
  goDuration,
  type LimitFigure,
  type Profile,
  type RateRefusal,
  type Refusal,
  retryAfterMs,
  type WireError,
} from '../profile.js'
import { RESPONSES } from '../responses.js'

export function openaiError(status: number, code: string, type: string, message: string, headers = {}): WireError {
  return { status, code, body: { error: { message, type, param: null, code } }, headers }
}

const OPENAI_ERRORS: Readonly<Record<string, WireError>> = {
  '500': openaiError(500, 'server_error', 'server_error', 'The server had an error while processing your request.'),
  '503': openaiError(503, 'overloaded', 'server_error', 'The engine is currently overloaded, please try again later.'),
  insufficient_quota: openaiError(
    429,
    'insufficient_quota',
    'insufficient_quota',
    'You exceeded your current quota, please check your plan and billing details.',
  ),
  context_length_exceeded: openaiError(
    400,
    'context_length_exceeded',
    'invalid_request_error',
    "This model's maximum context length is 128000 tokens.",
  ),
}

/** `largeStatus`: of a request that exceeds the limit all by itself. */
export function refuseRate(refusal: RateRefusal, headersOf: typeof retryAfterMs, largeStatus = 429): WireError {
  const { why, limit, used, requested, waitMs } = refusal
  const unit = why === 'tokens' ? 'tokens per min (TPM)' : 'requests per min (RPM)'
  const figures = `Limit ${limit}, Used ${used}, Requested ${requested}.`
  if (waitMs === Number.POSITIVE_INFINITY) {
    const message = `Request too large on ${unit}: Limit ${limit}, Requested ${requested}. The input or output tokens must be reduced in order to run successfully.`
    return openaiError(largeStatus, 'rate_limit_exceeded', why, message)
  }
  const message = `Rate limit reached on ${unit}: ${figures} Please try again in ${goDuration(waitMs)}.`
  return openaiError(429, 'rate_limit_exceeded', why, message, headersOf(waitMs))
}

/** What is wrong with the request itself. */
export function refuseRequest(why: Refusal['why']): WireError {
  if (why === 'auth') {
    return openaiError(401, 'invalid_api_key', 'invalid_request_error', "You didn't provide an API key.")
  }
  if (why === 'not-found') return openaiError(404, 'unknown_url', 'invalid_request_error', 'Unknown request URL')
  return openaiError(400, 'invalid_body', 'invalid_request_error', 'We could not parse the JSON body of your request.')
}

function refuse(refusal: Refusal): WireError {
  if (refusal.why === 'requests' || refusal.why === 'tokens') return refuseRate(refusal, retryAfterMs)
  return refusal.why === 'concurrency' ? OPENAI_ERRORS['503']! : refuseRequest(refusal.why)
}

/** `x-ratelimit-…`, about the limit of each dimension that is chosen. */
export function openaiHeaders(figures: readonly (LimitFigure | undefined)[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const figure of figures) {
    if (!figure) continue
    const { dimension, limit, remaining, resetMs } = figure
    headers[`x-ratelimit-limit-${dimension}`] = String(limit)
    headers[`x-ratelimit-remaining-${dimension}`] = String(remaining)
    headers[`x-ratelimit-reset-${dimension}`] = goDuration(resetMs)
  }
  return headers
}

/** The first limit of each dimension. */
export function firstOfEach(figures: readonly LimitFigure[]): (LimitFigure | undefined)[] {
  return (['requests', 'tokens'] as const).map((dimension) => figures.find((figure) => figure.dimension === dimension))
}

export const openai: Profile = {
  ...COMMON,
  name: 'openai',
  basePath: '/v1',
  apiAt: apisBelow(['/v1'], {
    '/chat/completions': openaiChat({ usage: 'extra-chunk' }),
    '/embeddings': EMBEDDINGS,
    '/responses': RESPONSES,
  }),
  refusedCount: true,
  limitHeaders: (figures) => openaiHeaders(firstOfEach(figures)),
  refuse,
  injected: fromTable(OPENAI_ERRORS, 'OpenAI'),
}
