import { openaiChat } from '../completion.js'
import { EMBEDDINGS } from '../embeddings.js'
import {
  apisBelow,
  COMMON,
  fromTable,
  type LimitFigure,
  type Profile,
  type Refusal,
  type WireError,
} from '../profile.js'

const MINUTE_MS = 60_000

/** Not wrapped, as `{"object":"error", …}`. */
function mistralError(status: number, code: string, type: string, message: string): WireError {
  return { status, code, body: { object: 'error', message, type, param: null, code } }
}

const MISTRAL_ERRORS: Readonly<Record<string, WireError>> = {
  '402': { status: 402, code: '402', body: { message: 'Payment required' } },
  '500': mistralError(500, '1000', 'internal_server_error', 'Service unavailable.'),
  '3505': mistralError(429, '3505', 'service_tier_capacity_exceeded', 'Service tier capacity exceeded for this model.'),
}

function refuse({ why }: Refusal): WireError {
  if (why === 'requests' || why === 'tokens') {
    return {
      status: 429,
      code: '429',
      body: { message: `${why === 'tokens' ? 'Tokens' : 'Requests'} rate limit exceeded` },
    }
  }
  if (why === 'concurrency') return MISTRAL_ERRORS['3505']!
  if (why === 'auth') return { status: 401, code: '401', body: { message: 'Unauthorized' } }
  if (why === 'not-found') return { status: 404, code: '404', body: { message: 'no Route matched with those values' } }
  const detail = [
    { type: 'value_error', loc: ['body'], msg: why === 'bad-json' ? 'JSON decode error' : 'Field required' },
  ]
  return { status: 422, code: '422', body: { detail } }
}

function limitHeaders(figures: readonly LimitFigure[]): Record<string, string> {
  const tokens = figures.find(({ dimension, windowMs }) => dimension === 'tokens' && windowMs === MINUTE_MS)
  if (!tokens) return {}
  return {
    'x-ratelimit-limit-tokens-minute': String(tokens.limit),
    'x-ratelimit-remaining-tokens-minute': String(tokens.remaining),
  }
}

export const mistral: Profile = {
  ...COMMON,
  name: 'mistral',
  basePath: '/v1',
  apiAt: apisBelow(['/v1'], { '/chat/completions': openaiChat({ usage: 'on-finish' }), '/embeddings': EMBEDDINGS }),
  limitHeaders,
  refuse,
  injected: fromTable(MISTRAL_ERRORS, 'Mistral'),
}
