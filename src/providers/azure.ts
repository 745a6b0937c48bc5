import { chatUrlOf } from './chat-url.js'
import { limitObservations } from './limit-headers.js'
import { openaiLike } from './openai-like.js'

const DEPLOYMENT = /\/openai\/deployments\/[^/]+\/?$/
/** The newer path, which needs neither deployment nor version. */
const V1 = /\/openai\/v1\/?$/

/** Counts a running estimate (prompt and `max_tokens`) up front, anew each minute. */
export const azure = openaiLike({
  name: 'azure',
  baseURL: undefined,
  baseURLForm: {
    expected: 'https://{resource}.openai.azure.com/openai/deployments/{deployment}?api-version={version}',
    accepts: ({ pathname, search, searchParams }) => {
      const version = searchParams.get('api-version')
      return DEPLOYMENT.test(pathname) ? !!version && searchParams.size === 1 : V1.test(pathname) && search === ''
    },
  },
  authHeaders: (apiKey) => ({ 'api-key': apiKey }),
  // Models are the resource's, not the deployment's.
  keyUrl: (baseURL) => chatUrlOf(baseURL.replace(/\/deployments\/[^/?]+\/?/, ''), '/models'),
  limitObservations,
})
