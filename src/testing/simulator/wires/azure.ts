import { openaiChat } from '../completion.js'
import { EMBEDDINGS } from '../embeddings.js'
import {
  type Api,
  apisBelow,
  COMMON,
  fromTable,
  type Profile,
  type Refusal,
  retryAfterMs,
  type WireError,
} from '../profile.js'
import { RESPONSES } from '../responses.js'
import { firstOfEach, openaiError } from './openai.js'

const AZURE_ERRORS: Readonly<Record<string, WireError>> = {
  '500': openaiError(500, 'InternalServerError', '', 'The server had an error while processing your request.'),
  '503': openaiError(503, '503', '', 'The server is currently overloaded with other requests.'),
  content_filter: openaiError(400, 'content_filter', '', "The response was filtered by Azure's content management."),
  DeploymentNotFound: openaiError(
    404,
    'DeploymentNotFound',
    '',
    'The API deployment for this resource does not exist.',
  ),
}

function refuse(refusal: Refusal): WireError {
  if (refusal.why === 'requests' || refusal.why === 'tokens') {
    const { why, waitMs } = refusal
    const seconds = Number.isFinite(waitMs) ? Math.ceil(waitMs / 1000) : 60
    const message = `Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded ${why === 'tokens' ? 'token' : 'call'} rate limit of your current OpenAI S0 pricing tier. Please retry after ${seconds} seconds.`
    return openaiError(429, '429', '', message, retryAfterMs(waitMs))
  }
  if (refusal.why === 'concurrency') return AZURE_ERRORS['503']!
  if (refusal.why === 'auth') return openaiError(401, '401', '', 'Access denied due to invalid subscription key.')
  if (refusal.why === 'not-found') return openaiError(404, '404', '', 'Resource not found')
  return openaiError(400, 'BadRequest', 'invalid_request_error', 'We could not parse the JSON body of your request.')
}

const DEPLOYED = /^\/openai\/deployments\/[^/]+(\/.+)$/
const DEPLOYED_APIS: Readonly<Record<string, Api>> = {
  '/chat/completions': openaiChat({ usage: 'extra-chunk' }),
  '/embeddings': EMBEDDINGS,
}
const UNDATED = apisBelow(['/openai/v1'], { ...DEPLOYED_APIS, '/responses': RESPONSES })

/** The deployment is in the path, and the version belongs to it. */
export const azure: Profile = {
  ...COMMON,
  name: 'azure',
  basePath: '/openai/deployments/simulated?api-version=2024-10-21',
  apiAt: (path, query) => {
    const deployed = query.get('api-version') ? DEPLOYED.exec(path) : null
    return UNDATED(path, query) ?? (deployed ? DEPLOYED_APIS[deployed[1]!] : undefined)
  },
  hasKey: (headers) => !!headers['api-key'],
  window: 'fixed',
  limitHeaders: (figures) =>
    Object.fromEntries(
      firstOfEach(figures).flatMap((figure) =>
        figure ? [[`x-ratelimit-remaining-${figure.dimension}`, String(figure.remaining)]] : [],
      ),
    ),
  refuse,
  injected: fromTable(AZURE_ERRORS, 'Azure'),
}
