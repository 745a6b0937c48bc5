import type { Answers } from './profile.js'

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
  readonly maxTokensGiven: boolean
  readonly promptTokens: number
}

/** Reads a body; undefined when it is no chat request. */
export function readChatRequest(body: unknown): ChatRequest | undefined {
  const { model, messages, system, stream, stream_options, max_tokens, max_completion_tokens } = Object(body)
  if (typeof model !== 'string' || !Array.isArray(messages)) return undefined
  const given = max_completion_tokens ?? max_tokens
  const maxTokens = given ?? DEFAULT_COMPLETION_TOKENS
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) return undefined
  let promptTokens = countTokens(system) // Anthropic's place for it
  for (const message of messages) promptTokens += countTokens(Object(message).content)
  return {
    model,
    messages,
    stream: stream === true,
    includeUsage: Object(stream_options).include_usage === true,
    maxTokens,
    maxTokensGiven: given !== undefined,
    promptTokens,
  }
}

/** The simulator's own tokenizer: a Han character or up to four others are a token. */
export function countTokens(content: unknown): number {
  if (typeof content === 'string') return content.match(HAN_OR_PIECE)?.length ?? 0
  if (!Array.isArray(content)) return 0
  return content.reduce((total: number, part) => total + countTokens(Object(part).text), 0)
}

/** The words of an answer: exactly `max_tokens` tokens. */
export function contentOf({ maxTokens }: ChatRequest): string {
  return 'word '.repeat(maxTokens).trimEnd()
}

/** The same words as a stream has them. */
export function* wordsOf({ maxTokens }: ChatRequest): Generator<string> {
  for (let sent = 0; sent < maxTokens; sent += WORDS_PER_CHUNK) {
    yield 'word '.repeat(Math.min(WORDS_PER_CHUNK, maxTokens - sent))
  }
}

interface OpenAiStyle {
  /** Where a stream has its usage; `extra-chunk` only where `stream_options.include_usage` asks for it. */
  readonly usage: 'on-finish' | 'extra-chunk' | 'every-chunk' | 'x-groq'
  /** An empty `data:` line after the first chunk. */
  readonly heartbeat?: boolean
  readonly requestId?: boolean
}

/** Answers in OpenAI's shape. */
export function openaiAnswers(style: OpenAiStyle): Answers {
  return {
    body: (request, id, createdMs) => completionBody(request, id, createdMs, style.requestId === true),
    events: (request, id, createdMs) => completionEvents(request, id, createdMs, style),
    failure: ({ body }) => `data: ${JSON.stringify(Array.isArray(body) ? body[0] : body)}\n\n`,
    keepAlive: ': keep-alive\n\n',
  }
}

function usageOf({ promptTokens, maxTokens }: ChatRequest, completionTokens = maxTokens) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: 0 },
  }
}

function completionBody(request: ChatRequest, id: string, createdMs: number, withRequestId: boolean) {
  const message = { role: 'assistant', content: contentOf(request) }
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

function* completionEvents(
  request: ChatRequest,
  id: string,
  createdMs: number,
  { usage, heartbeat }: OpenAiStyle,
): Generator<string> {
  const head = { id, object: 'chat.completion.chunk', created: Math.floor(createdMs / 1000), model: request.model }
  const extra = usage === 'extra-chunk' && request.includeUsage
  let written = 0
  const event = (delta: object, finish_reason: string | null = null, more: object = {}) => {
    const choices = [{ index: 0, delta, finish_reason }]
    // Every chunk before the one with the usage says that it has none; or it has it as of now.
    const early = extra ? { usage: null } : usage === 'every-chunk' ? { usage: usageOf(request, written) } : {}
    return `data: ${JSON.stringify({ ...head, ...early, choices, ...more })}\n\n`
  }
  yield event({ role: 'assistant', content: '' }, null, usage === 'x-groq' ? { x_groq: { id } } : {})
  if (heartbeat) yield 'data:\n\n'
  for (const content of wordsOf(request)) {
    written = Math.min(request.maxTokens, written + WORDS_PER_CHUNK)
    yield event({ content })
  }
  if (usage === 'on-finish') yield event({}, 'stop', { usage: usageOf(request) })
  else yield event({}, 'stop', usage === 'x-groq' ? { x_groq: { id, usage: usageOf(request) } } : {})
  if (extra) yield `data: ${JSON.stringify({ ...head, choices: [], usage: usageOf(request) })}\n\n`
  yield 'data: [DONE]\n\n'
}
