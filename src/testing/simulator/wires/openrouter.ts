import { openaiChat } from '../completion.js'
import { EMBEDDINGS } from '../embeddings.js'
import { type Api, apisBelow, COMMON, fromTable, type Profile, type Refusal, type WireError } from '../profile.js'

const PROCESSING = ': OPENROUTER PROCESSING\n\n'

function openrouterError(code: number, message: string, metadata?: object): WireError {
  return { status: code, code: String(code), body: { error: { code, message, ...(metadata && { metadata }) } } }
}

function limited(what: string, limit: number, waitMs: number): WireError {
  const resetMs = Date.now() + (Number.isFinite(waitMs) ? Math.ceil(waitMs) : 0)
  const headers = {
    'X-RateLimit-Limit': String(limit),
    'X-RateLimit-Remaining': '0',
    'X-RateLimit-Reset': String(resetMs),
  }
  return openrouterError(429, `Rate limit exceeded: ${what}`, { headers })
}

const OPENROUTER_ERRORS: Readonly<Record<string, WireError>> = {
  '402': openrouterError(402, 'Insufficient credits'),
  '403': openrouterError(403, 'Input was flagged', { reasons: ['violence'], provider_name: 'simulated' }),
  '408': openrouterError(408, 'Request timed out'),
  '429': openrouterError(429, 'Provider returned error', { provider_name: 'simulated' }),
  '500': openrouterError(500, 'Internal Server Error'),
  '502': openrouterError(502, 'Provider returned error', { provider_name: 'simulated' }),
  '503': openrouterError(503, 'No instances available'),
}

function injected(code: string): WireError {
  // Its reset is a date, so it is made when it is asked for.
  const daily = { ...limited('free-models-per-day', 50, 3_600_000), code: 'free-models-per-day' }
  return fromTable({ ...OPENROUTER_ERRORS, [daily.code]: daily }, 'OpenRouter')(code)
}

function refuse(refusal: Refusal): WireError {
  if (refusal.why === 'requests' || refusal.why === 'tokens') {
    const what = refusal.windowMs >= 86_400_000 ? 'free-models-per-day' : 'free-models-per-min'
    return limited(what, refusal.limit, refusal.waitMs)
  }
  if (refusal.why === 'concurrency') return OPENROUTER_ERRORS['503']!
  if (refusal.why === 'auth') return openrouterError(401, 'No auth credentials found')
  return openrouterError(refusal.why === 'not-found' ? 404 : 400, 'Invalid request')
}

const openaiStyle = openaiChat({ usage: 'extra-chunk' })
const chat: Api = {
  ...openaiStyle,
  stream: {
    *events(request, id, createdMs) {
      yield PROCESSING
      yield* openaiStyle.stream.events(request, id, createdMs)
    },
    failure: ({ body }) => {
      const choices = [{ index: 0, delta: { content: '' }, finish_reason: 'error' }]
      return `data: ${JSON.stringify({ object: 'chat.completion.chunk', ...Object(body), choices })}\n\n`
    },
    keepAlive: PROCESSING,
  },
}

/** Streams begin with a comment, and what fails after the 200 says so in a chunk. */
export const openrouter: Profile = {
  ...COMMON,
  name: 'openrouter',
  basePath: '/api/v1',
  apiAt: apisBelow(['/api/v1', '/v1'], { '/chat/completions': chat, '/embeddings': EMBEDDINGS }),
  refuse,
  injected,
}
