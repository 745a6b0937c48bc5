import { openaiChat } from '../completion.js'
import { apisBelow, COMMON, fromTable, type Profile, type Refusal, type WireError } from '../profile.js'

function deepseekError(status: number, message: string, type: string, code = 'invalid_request_error'): WireError {
  return { status, code: String(status), body: { error: { message, type, param: null, code } } }
}

const DEEPSEEK_ERRORS: Readonly<Record<string, WireError>> = {
  '400': deepseekError(400, 'Content Exists Risk', 'invalid_request_error'),
  '401': deepseekError(401, 'Authentication Fails (no such user)', 'authentication_error'),
  '402': deepseekError(402, 'Insufficient Balance', 'unknown_error'),
  '422': deepseekError(422, 'Failed to deserialize the JSON body into the target type', 'invalid_request_error'),
  '429': deepseekError(429, 'Too many requests, please slow down', 'rate_limit_error', 'rate_limit_error'),
  '500': deepseekError(500, 'Internal Server Error', 'server_error', 'server_error'),
  '503': deepseekError(503, 'Service is too busy', 'service_unavailable_error', 'service_unavailable_error'),
}

function refuseDeepseek({ why }: Refusal): WireError {
  if (why === 'auth') return DEEPSEEK_ERRORS['401']!
  if (why === 'bad-json' || why === 'bad-body') return DEEPSEEK_ERRORS['422']!
  if (why === 'not-found') return deepseekError(404, 'Not Found', 'invalid_request_error')
  return DEEPSEEK_ERRORS['429']!
}

export const deepseek: Profile = {
  ...COMMON,
  name: 'deepseek',
  basePath: '',
  apiAt: apisBelow(['', '/v1'], { '/chat/completions': openaiChat({ usage: 'on-finish' }) }),
  refuse: refuseDeepseek,
  injected: fromTable(DEEPSEEK_ERRORS, 'DeepSeek'),
}
