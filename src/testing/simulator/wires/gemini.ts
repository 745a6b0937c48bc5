import { openaiChat } from '../completion.js'
import { EMBEDDINGS } from '../embeddings.js'
import { apisBelow, COMMON, fromTable, type Profile, type Refusal, type WireError } from '../profile.js'

const DAY_MS = 86_400_000
const DEFAULT_RETRY_MS = 42_000

/** Google's own shape, in an array of one on the path that is compatible with OpenAI's. */
function geminiError(status: number, name: string, code: string, message: string, details?: object[]): WireError {
  return { status, code, body: [{ error: { code: status, message, status: name, ...(details && { details }) } }] }
}

function exhausted(quotaId: string, metric: string, waitMs: number): WireError {
  const retryDelay = `${Math.ceil(Number.isFinite(waitMs) ? waitMs / 1000 : 0)}s`
  const quotaMetric = `generativelanguage.googleapis.com/${metric}`
  return geminiError(429, 'RESOURCE_EXHAUSTED', quotaId, 'You exceeded your current quota.', [
    { '@type': 'type.googleapis.com/google.rpc.QuotaFailure', violations: [{ quotaMetric, quotaId }] },
    { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay },
  ])
}

const requestsPer = (period: string, waitMs = DEFAULT_RETRY_MS) =>
  exhausted(`GenerateRequestsPer${period}PerProjectPerModel`, 'generate_content_requests', waitMs)
const tokensPer = (period: string, waitMs = DEFAULT_RETRY_MS) =>
  exhausted(`GenerateContentInputTokensPerModelPer${period}`, 'generate_content_input_token_count', waitMs)

const GEMINI_ERRORS: Readonly<Record<string, WireError>> = {
  '400': geminiError(400, 'INVALID_ARGUMENT', '400', 'Request contains an invalid argument.'),
  '403': geminiError(403, 'PERMISSION_DENIED', '403', 'The caller does not have permission.'),
  '500': geminiError(500, 'INTERNAL', '500', 'An internal error has occurred.'),
  '503': geminiError(503, 'UNAVAILABLE', '503', 'The model is overloaded. Please try again later.'),
  PerMinute: requestsPer('Minute'),
  // With a delay as short as the others': it says nothing.
  PerDay: requestsPer('Day'),
  TokensPerMinute: tokensPer('Minute'),
}

function refuse(refusal: Refusal): WireError {
  if (refusal.why === 'requests' || refusal.why === 'tokens') {
    const daily = refusal.windowMs >= DAY_MS
    const waitMs = daily ? DEFAULT_RETRY_MS : refusal.waitMs
    return (refusal.why === 'requests' ? requestsPer : tokensPer)(daily ? 'Day' : 'Minute', waitMs)
  }
  if (refusal.why === 'concurrency') return GEMINI_ERRORS['503']!
  if (refusal.why === 'auth') return geminiError(400, 'INVALID_ARGUMENT', 'auth', 'API key not valid.')
  return refusal.why === 'not-found' ? geminiError(404, 'NOT_FOUND', '404', 'Not found.') : GEMINI_ERRORS['400']!
}

/** Its limits of tokens are about input alone, and every chunk has the usage as of then. */
export const gemini: Profile = {
  ...COMMON,
  name: 'gemini',
  basePath: '/v1beta/openai',
  apiAt: apisBelow(['/v1beta/openai'], {
    '/chat/completions': openaiChat({ usage: 'every-chunk' }),
    '/embeddings': EMBEDDINGS,
  }),
  countsCompletion: 'never',
  refuse,
  injected: fromTable(GEMINI_ERRORS, 'Gemini'),
}
