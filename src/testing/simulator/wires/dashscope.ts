import { openaiChat } from '../completion.js'
import { EMBEDDINGS } from '../embeddings.js'
import { apisBelow, COMMON, fromTable, type Profile, type Refusal, type WireError } from '../profile.js'

function dashscopeError(status: number, code: string, message: string, type = code): WireError {
  return { status, code, body: { error: { message, type, param: null, code }, request_id: 'simulated' } }
}

const DASHSCOPE_ERRORS: Readonly<Record<string, WireError>> = {
  '500': dashscopeError(500, 'internal_error', 'An internal error has occurred'),
  '503': dashscopeError(503, 'ModelServingError', 'Too many requests. Your requests are being throttled'),
  limit_burst_rate: dashscopeError(429, 'limit_burst_rate', 'Request rate increased too quickly.'),
  'Throttling.Concurrency': dashscopeError(429, 'Throttling.Concurrency', 'Too many concurrent requests'),
  Arrearage: dashscopeError(400, 'Arrearage', 'Access denied, please make sure your account is in good standing.'),
  data_inspection_failed: dashscopeError(
    400,
    'data_inspection_failed',
    'Input data may contain inappropriate content.',
  ),
}

function refuse({ why }: Refusal): WireError {
  if (why === 'concurrency') return DASHSCOPE_ERRORS['Throttling.Concurrency']!
  if (why === 'requests') return dashscopeError(429, 'limit_requests', 'You exceeded your current requests list.')
  // The words of a bill for what is tokens per minute.
  if (why === 'tokens') return dashscopeError(429, 'insufficient_quota', 'You exceeded your current quota.')
  if (why === 'auth') return dashscopeError(401, 'invalid_api_key', 'Incorrect API key provided.')
  if (why === 'not-found') return dashscopeError(404, 'not_found', 'Not found', 'invalid_request_error')
  return dashscopeError(400, 'invalid_parameter_error', 'The body is not valid', 'invalid_request_error')
}

/** Each limit of a minute is held per second too. */
export const dashscope: Profile = {
  ...COMMON,
  name: 'dashscope',
  basePath: '/compatible-mode/v1',
  apiAt: apisBelow(['/compatible-mode/v1', '/v1'], {
    '/chat/completions': openaiChat({ usage: 'extra-chunk' }),
    '/embeddings': EMBEDDINGS,
  }),
  window: 'per-second',
  refuse,
  injected: fromTable(DASHSCOPE_ERRORS, 'DashScope'),
}
