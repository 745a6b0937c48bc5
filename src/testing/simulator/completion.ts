const HAN_OR_PIECE = /\p{Script=Han}|[^\s\p{Script=Han}]{1,4}/gu
const DEFAULT_COMPLETION_TOKENS = 16
const WORDS_PER_CHUNK = 8

/** A chat request as far as the simulator reads it. */
export interface ChatRequest {
  readonly model: string
  readonly messages: readonly unknown[]
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly maxTokens: number
  readonly promptTokens: number
}

/** Reads a body; undefined when it is no chat request. */
export function readChatRequest(body: unknown): ChatRequest | undefined {
  const { model, messages, stream, stream_options, max_tokens, max_completion_tokens } = Object(body)
  if (typeof model !== 'string' || !Array.isArray(messages)) return undefined
  const maxTokens = max_completion_tokens ?? max_tokens ?? DEFAULT_COMPLETION_TOKENS
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) return undefined
  let promptTokens = 0
  for (const message of messages) promptTokens += countTokens(Object(message).content)
  return {
    model,
    messages,
    stream: stream === true,
    includeUsage: Object(stream_options).include_usage === true,
    maxTokens,
    promptTokens,
  }
}

/** The simulator's own tokenizer: a Han character or up to four others are a token. */
export function countTokens(content: unknown): number {
  if (typeof content === 'string') return content.match(HAN_OR_PIECE)?.length ?? 0
  if (!Array.isArray(content)) return 0
  return content.reduce((total: number, part) => total + countTokens(Object(part).text), 0)
}

function usageOf({ promptTokens, maxTokens }: ChatRequest) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: maxTokens,
    total_tokens: promptTokens + maxTokens,
    prompt_tokens_details: { cached_tokens: 0 },
  }
}

/** A whole answer of exactly `max_tokens` tokens. */
export function completionBody(request: ChatRequest, id: string, createdMs: number, withRequestId: boolean) {
  const message = { role: 'assistant', content: 'word '.repeat(request.maxTokens).trimEnd() }
  return {
    id,
    ...(withRequestId && { request_id: id }),
    object: 'chat.completion',
    created: Math.floor(createdMs / 1000),
    model: request.model,
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage: usageOf(request),
  }
}

/** The same answer as SSE events; usage where the provider puts it: on the finish chunk, or in a chunk of its own. */
export function* completionEvents(
  request: ChatRequest,
  id: string,
  createdMs: number,
  usage: 'on-finish' | 'extra-chunk',
  heartbeat: boolean,
): Generator<string> {
  const head = { id, object: 'chat.completion.chunk', created: Math.floor(createdMs / 1000), model: request.model }
  const extra = usage === 'extra-chunk' && request.includeUsage
  // Every chunk before the one with the usage says so.
  const none = extra ? { usage: null } : {}
  const event = (chunk: object) => `data: ${JSON.stringify({ ...head, ...none, ...chunk })}\n\n`
  const choice = (delta: object, finish_reason: string | null = null) => [{ index: 0, delta, finish_reason }]
  yield event({ choices: choice({ role: 'assistant', content: '' }) })
  if (heartbeat) yield 'data:\n\n'
  for (let sent = 0; sent < request.maxTokens; sent += WORDS_PER_CHUNK) {
    const words = Math.min(WORDS_PER_CHUNK, request.maxTokens - sent)
    yield event({ choices: choice({ content: 'word '.repeat(words) }) })
  }
  const onFinish = usage === 'on-finish' ? { usage: usageOf(request) } : {}
  yield event({ choices: choice({}, 'stop'), ...onFinish })
  if (extra) yield event({ choices: [], usage: usageOf(request) })
  yield 'data: [DONE]\n\n'
}
