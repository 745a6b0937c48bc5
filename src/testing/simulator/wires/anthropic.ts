import { contentOf, type ModelRequest, readChatRequest, toolCallsOf, wordsOf } from '../completion.js'
import {
  type Api,
  apisBelow,
  COMMON,
  fromTable,
  type LimitFigure,
  type Profile,
  type Refusal,
  retryAfter,
  type WireError,
} from '../profile.js'
import { firstOfEach } from './openai.js'

function anthropicError(status: number, type: string, message: string, more: object = {}, headers = {}): WireError {
  const body = { type: 'error', error: { type, message, ...more }, request_id: 'req_simulated' }
  return { status, code: type, body, headers }
}

const ANTHROPIC_ERRORS: Readonly<Record<string, WireError>> = {
  api_error: anthropicError(500, 'api_error', 'Internal server error'),
  overloaded_error: anthropicError(529, 'overloaded_error', 'Overloaded'),
  rate_limit_error: anthropicError(
    429,
    'rate_limit_error',
    'Your usage has grown too fast',
    {},
    { 'retry-after': '1' },
  ),
  billing_error: anthropicError(402, 'billing_error', 'There is an issue with your billing'),
  request_too_large: anthropicError(413, 'request_too_large', 'Request exceeds the maximum size'),
  // The type of a rate limit: only the details tell.
  enforced_spend_limit_reached: anthropicError(429, 'rate_limit_error', 'You have reached your spend limit', {
    details: { error_code: 'enforced_spend_limit_reached' },
  }),
  prompt_too_long: anthropicError(400, 'invalid_request_error', 'prompt is too long: 210000 tokens > 200000 maximum'),
}

function refuse(refusal: Refusal): WireError {
  const prefix = "This request would exceed your organization's rate limit of"
  if (refusal.why === 'requests' || refusal.why === 'tokens') {
    const unit = refusal.why === 'tokens' ? 'input tokens' : 'requests'
    const message = `${prefix} ${refusal.limit} ${unit} per minute`
    return anthropicError(429, 'rate_limit_error', message, {}, retryAfter(refusal.waitMs))
  }
  if (refusal.why === 'concurrency') {
    return anthropicError(429, 'rate_limit_error', 'Number of concurrent connections has exceeded your rate limit')
  }
  if (refusal.why === 'auth') return anthropicError(401, 'authentication_error', 'x-api-key header is required')
  if (refusal.why === 'not-found') return anthropicError(404, 'not_found_error', 'Not found')
  return anthropicError(400, 'invalid_request_error', 'messages: Field required')
}

/** Resets are the time at which the bucket is full again. What a request's prompt takes is the input's. */
function limitHeaders(figures: readonly LimitFigure[], wallMs: number): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const figure of firstOfEach(figures)) {
    if (!figure) continue
    for (const name of figure.dimension === 'tokens' ? ['tokens', 'input-tokens'] : ['requests']) {
      headers[`anthropic-ratelimit-${name}-limit`] = String(figure.limit)
      headers[`anthropic-ratelimit-${name}-remaining`] = String(figure.remaining)
      headers[`anthropic-ratelimit-${name}-reset`] = new Date(wallMs + Math.ceil(figure.resetMs)).toISOString()
    }
  }
  return headers
}

const usageOf = ({ promptTokens }: ModelRequest, outputTokens: number) => ({
  input_tokens: promptTokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  output_tokens: outputTokens,
})

function messageOf(request: ModelRequest, id: string, content: unknown[], stop: string | null, outputTokens: number) {
  const { model } = request
  const head = { id: `msg_${id}`, type: 'message', role: 'assistant', model, content }
  return { ...head, stop_reason: stop, stop_sequence: null, usage: usageOf(request, outputTokens) }
}

const event = (data: { readonly type: string }) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`

function stopOf({ script, cut }: ModelRequest): string {
  if (cut) return 'max_tokens'
  return script?.toolCalls?.length ? 'tool_use' : 'end_turn'
}

function blocksOf(request: ModelRequest, id: string) {
  const calls = toolCallsOf(request, id).map((call) => {
    return { type: 'tool_use', id: call.id, name: call.name, input: call.arguments }
  })
  return [{ type: 'text', text: contentOf(request) }, ...calls]
}

function* events(request: ModelRequest, id: string): Generator<string> {
  const delta = (text: string) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } })
  yield event({ type: 'message_start', ...{ message: messageOf(request, id, [], null, 1) } })
  yield event({ type: 'content_block_start', ...{ index: 0, content_block: { type: 'text', text: '' } } })
  yield event({ type: 'ping' })
  for (const words of wordsOf(request)) yield event(delta(words))
  yield event({ type: 'content_block_stop', ...{ index: 0 } })
  for (const [index, call] of toolCallsOf(request, id).entries()) {
    const at = { index: index + 1 }
    const block = { type: 'tool_use', id: call.id, name: call.name, input: {} }
    const delta = { type: 'input_json_delta', partial_json: JSON.stringify(call.arguments) }
    yield event({ type: 'content_block_start', ...{ ...at, content_block: block } })
    yield event({ type: 'content_block_delta', ...{ ...at, delta } })
    yield event({ type: 'content_block_stop', ...at })
  }
  const stop = { stop_reason: stopOf(request), stop_sequence: null }
  yield event({ type: 'message_delta', ...{ delta: stop, usage: { output_tokens: request.completionTokens } } })
  yield event({ type: 'message_stop' })
}

const messages: Api = {
  read: (body) => {
    const request = readChatRequest(body)
    return request?.maxTokensGiven ? request : undefined
  },
  body: (request, id) => messageOf(request, id, blocksOf(request, id), stopOf(request), request.completionTokens),
  stream: {
    events,
    failure: ({ body }) => event(body as { type: string }),
    keepAlive: event({ type: 'ping' }),
  },
}

export const anthropic: Profile = {
  ...COMMON,
  name: 'anthropic',
  basePath: '/v1',
  apiAt: apisBelow(['/v1'], { '/messages': messages }),
  hasKey: (headers) => !!headers['x-api-key'] && !!headers['anthropic-version'],
  window: 'token-bucket',
  countsCompletion: 'as-produced',
  limitHeaders,
  refuse,
  injected: fromTable(ANTHROPIC_ERRORS, 'Anthropic'),
}
