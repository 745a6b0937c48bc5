import { openaiChat } from '../completion.js'
import { apisBelow, COMMON, fromTable, type Profile, type Refusal, type WireError } from '../profile.js'

function moonshotError(status: number, type: string, message: string): WireError {
  return { status, code: type, body: { error: { message, type } } }
}

function reached(what: string): WireError {
  return moonshotError(429, 'rate_limit_reached_error', `Your account org-1<ak-1> request reached ${what}`)
}

const MOONSHOT_ERRORS: Readonly<Record<string, WireError>> = {
  '500': moonshotError(500, 'server_error', 'Internal server error'),
  engine_overloaded_error: moonshotError(429, 'engine_overloaded_error', 'The engine is currently overloaded'),
  exceeded_current_quota_error: moonshotError(429, 'exceeded_current_quota_error', 'Your account is suspended'),
  content_filter: moonshotError(400, 'content_filter', 'The request was rejected because it was considered high risk'),
  TPD: reached('organization TPD rate limit, current: 1500001, limit: 1500000'),
}

/** One type for every limit; which, is in the words. */
function refuse(refusal: Refusal): WireError {
  if (refusal.why === 'concurrency') {
    return reached(`max organization concurrency: ${refusal.limit}, please try again after 1 seconds`)
  }
  if (refusal.why === 'requests' || refusal.why === 'tokens') {
    const { why, limit, used, requested, waitMs } = refusal
    const again = Number.isFinite(waitMs) ? `, please try again after ${Math.ceil(waitMs / 1000)} seconds` : ''
    if (why === 'requests') return reached(`organization max RPM: ${limit}${again}`)
    return reached(`organization TPM rate limit, current: ${used + requested}, limit: ${limit}${again}`)
  }
  if (refusal.why === 'auth') return moonshotError(401, 'invalid_authentication_error', 'Invalid Authentication')
  if (refusal.why === 'not-found') return moonshotError(404, 'resource_not_found_error', 'The url is not found')
  return moonshotError(400, 'invalid_request_error', 'Invalid request: the body can not be parsed')
}

export const moonshot: Profile = {
  ...COMMON,
  name: 'moonshot',
  basePath: '/v1',
  apiAt: apisBelow(['/v1'], { '/chat/completions': openaiChat({ usage: 'on-finish' }) }),
  refuse,
  injected: fromTable(MOONSHOT_ERRORS, 'Moonshot'),
}
