import type { Api, StreamAnswers, WireError } from './profile.js'

const HAN_OR_PIECE = /\p{Script=Han}|[^\s\p{Script=Han}]{1,4}/gu
const DEFAULT_COMPLETION_TOKENS = 16
/** More than any model writes at once, and few enough to be made up at once. */
const MAX_COMPLETION_TOKENS = 262_144
const WORDS_PER_CHUNK = 8
/** A scripted answer streams in bits this long. */
const CHARS_PER_CHUNK = 24

/** What a scripted answer says: text, calls of tools, or both. */
export interface ScriptedAnswer {
  readonly content?: string
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: unknown }[]
}

/** A request as far as the simulator reads it: a chat, or whatever else is asked of a model. */
export interface ModelRequest {
  readonly model: string
  /** As it was sent, parsed. */
  readonly body: Readonly<Record<string, unknown>>
  readonly stream: boolean
  readonly includeUsage: boolean
  readonly maxTokens: number
  readonly maxTokensGiven: boolean
  readonly promptTokens: number
  /** Of the answer, `max_tokens` at most. */
  readonly completionTokens: number
  /** Undefined: as many words as were asked for. */
  readonly script?: ScriptedAnswer
  /** Whether the scripted text was cut at `max_tokens`. */
  readonly cut?: boolean
}

/** Reads a body; undefined when it is no chat request. */
export function readChatRequest(body: unknown): ModelRequest | undefined {
  const { model, messages, system, stream, stream_options, max_tokens, max_completion_tokens } = Object(body)
  if (typeof model !== 'string' || !Array.isArray(messages)) return undefined
  const given = max_completion_tokens ?? max_tokens ?? undefined
  const maxTokens = maxTokensOf(given)
  if (maxTokens === undefined) return undefined
  let promptTokens = countTokens(system) // Anthropic's place for it
  for (const message of messages) promptTokens += countTokens(Object(message).content)
  return {
    model,
    body: Object(body),
    stream: stream === true,
    includeUsage: Object(stream_options).include_usage === true,
    maxTokens,
    maxTokensGiven: given !== undefined,
    promptTokens,
    completionTokens: maxTokens,
  }
}

/** How long the answer may be; undefined where no model would write one of that length. */
export function maxTokensOf(given: unknown = DEFAULT_COMPLETION_TOKENS): number | undefined {
  const isCount = Number.isSafeInteger(given) && (given as number) >= 1 && (given as number) <= MAX_COMPLETION_TOKENS
  return isCount ? (given as number) : undefined
}

/** What a script of a test's own makes of a request; what it throws is the provider's failure, not the end of its process. */
export function scriptedBy(script: Script, request: ModelRequest): ModelRequest | WireError {
  try {
    const said = script(request.body)
    return said === undefined ? request : scripted(request, typeof said === 'string' ? { content: said } : said)
  } catch (error) {
    const { message } = error instanceof Error ? error : { message: String(error) }
    return { status: 500, code: '500', body: { error: { message: `answer: ${message}` } } }
  }
}

/** The same request with an answer to say, cut at `max_tokens` where that was given. */
function scripted(request: ModelRequest, script: ScriptedAnswer): ModelRequest {
  const { content, toolCalls = [] } = script
  const pieces = content === undefined ? [] : [...content.matchAll(HAN_OR_PIECE)]
  const end = request.maxTokensGiven ? pieces[request.maxTokens] : undefined
  const own = end ? { ...script, content: content!.slice(0, end.index) } : script
  const calls = toolCalls.reduce((sum, call) => sum + countTokens(`${call.name} ${JSON.stringify(call.arguments)}`), 0)
  const completionTokens = Math.max(1, (end ? request.maxTokens : pieces.length) + calls)
  return { ...request, script: own, cut: end !== undefined, completionTokens }
}

/** Calls of tools as they go out, each with an id of its own. */
export function toolCallsOf({ script }: ModelRequest, id: string) {
  return (script?.toolCalls ?? []).map((call, index) => ({ id: `call_${id}_${index}`, ...call }))
}

/** What to say instead of so many words; undefined for those. `body` is the request's, parsed. */
export type Script = (body: Readonly<Record<string, unknown>>) => string | ScriptedAnswer | undefined

/** The simulator's own tokenizer: a Han character or up to four others are a token. */
export function countTokens(content: unknown): number {
  if (typeof content === 'string') return content.match(HAN_OR_PIECE)?.length ?? 0
  if (!Array.isArray(content)) return 0
  return content.reduce((total: number, part) => total + countTokens(Object(part).text), 0)
}

/** The words of an answer: as scripted, else exactly `max_tokens` tokens. */
export function contentOf({ maxTokens, script }: ModelRequest): string {
  return script ? (script.content ?? '') : 'word '.repeat(maxTokens).trimEnd()
}

/** The same words as a stream has them. */
export function* wordsOf({ maxTokens, script }: ModelRequest): Generator<string> {
  const { content = '' } = script ?? {}
  for (let at = 0; at < content.length; at += CHARS_PER_CHUNK) yield content.slice(at, at + CHARS_PER_CHUNK)
  if (script) return
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

/** Chats in OpenAI's shape. */
export function openaiChat(style: OpenAiStyle): Api & { readonly stream: StreamAnswers } {
  return {
    read: readChatRequest,
    body: (request, id, createdMs) => completionBody(request, id, createdMs, style.requestId === true),
    stream: {
      events: (request, id, createdMs) => completionEvents(request, id, createdMs, style),
      failure: ({ body }) => `data: ${JSON.stringify(Array.isArray(body) ? body[0] : body)}\n\n`,
      keepAlive: ': keep-alive\n\n',
    },
  }
}

function usageOf({ promptTokens, completionTokens: all }: ModelRequest, completionTokens = all) {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: 0 },
  }
}

function finishOf({ script, cut }: ModelRequest): string {
  if (cut) return 'length'
  return script?.toolCalls?.length ? 'tool_calls' : 'stop'
}

function openaiCallsOf(request: ModelRequest, id: string) {
  return toolCallsOf(request, id).map(({ id: callId, name, arguments: input }) => {
    return { id: callId, type: 'function', function: { name, arguments: JSON.stringify(input) } }
  })
}

function completionBody(request: ModelRequest, id: string, createdMs: number, withRequestId: boolean) {
  const calls = openaiCallsOf(request, id)
  const content = contentOf(request)
  const message = {
    role: 'assistant',
    content: calls.length > 0 && !content ? null : content,
    ...(calls.length > 0 && { tool_calls: calls }),
  }
  return {
    id,
    ...(withRequestId && { request_id: id }),
    object: 'chat.completion',
    created: Math.floor(createdMs / 1000),
    model: request.model,
    choices: [{ index: 0, message, finish_reason: finishOf(request) }],
    usage: usageOf(request),
  }
}

function* completionEvents(
  request: ModelRequest,
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
    written = Math.min(request.completionTokens, written + WORDS_PER_CHUNK)
    yield event({ content })
  }
  for (const [index, call] of openaiCallsOf(request, id).entries()) {
    const { arguments: text, name } = call.function
    yield event({ tool_calls: [{ index, ...call, function: { name, arguments: '' } }] })
    yield event({ tool_calls: [{ index, function: { arguments: text } }] })
  }
  const finish = finishOf(request)
  if (usage === 'on-finish') yield event({}, finish, { usage: usageOf(request) })
  else yield event({}, finish, usage === 'x-groq' ? { x_groq: { id, usage: usageOf(request) } } : {})
  if (extra) yield `data: ${JSON.stringify({ ...head, choices: [], usage: usageOf(request) })}\n\n`
  yield 'data: [DONE]\n\n'
}
