import { openaiChat } from '../completion.js'
import {
  apisBelow,
  COMMON,
  fromTable,
  type LimitFigure,
  type Profile,
  type Refusal,
  retryAfter,
  type WireError,
} from '../profile.js'
import { openaiError, openaiHeaders, refuseRate, refuseRequest } from './openai.js'

const DAY_MS = 86_400_000

const GROQ_ERRORS: Readonly<Record<string, WireError>> = {
  '413': openaiError(413, 'rate_limit_exceeded', 'tokens', 'Request too large for model on tokens per minute (TPM).'),
  '498': openaiError(498, 'capacity_exceeded', 'capacity', 'The model is at capacity. Please try again later.'),
  '500': openaiError(500, 'internal_server_error', 'internal_server_error', 'Internal Server Error'),
  '503': openaiError(503, 'service_unavailable', 'internal_server_error', 'Service Unavailable'),
}

function refuse(refusal: Refusal): WireError {
  if (refusal.why === 'requests' || refusal.why === 'tokens') return refuseRate(refusal, retryAfter, 413)
  return refusal.why === 'concurrency' ? GROQ_ERRORS['498']! : refuseRequest(refusal.why)
}

/** Requests of a day under OpenAI's name for those of a minute, tokens of a minute. */
function limitHeaders(figures: readonly LimitFigure[]): Record<string, string> {
  const find = (dimension: LimitFigure['dimension'], fits: (windowMs: number) => boolean) =>
    figures.find((figure) => figure.dimension === dimension && fits(figure.windowMs))
  return openaiHeaders([
    find('requests', (windowMs) => windowMs >= DAY_MS),
    find('tokens', (windowMs) => windowMs < DAY_MS),
  ])
}

export const groq: Profile = {
  ...COMMON,
  name: 'groq',
  basePath: '/openai/v1',
  apiAt: apisBelow(['/openai/v1', '/v1'], { '/chat/completions': openaiChat({ usage: 'x-groq' }) }),
  limitHeaders,
  refuse,
  injected: fromTable(GROQ_ERRORS, 'Groq'),
}
