// The kinds of calls that can be governed over HTTP: where they go, what they cost, where they tell their usage. Pure.
import { type CountText, estimateTokens, type TokenEstimate } from './estimate.js'
import type { EndEvent, Provider, ProviderFailure, ResponseHead, Usage } from './provider.js'
import { CHAT_PATH, endsMessage, endsStream, recordOf } from './wire.js'

/** `chat` is the provider's own: OpenAI's chat completions, or Anthropic's messages. */
export const API_NAMES = ['chat', 'embeddings', 'responses'] as const
export type ApiName = (typeof API_NAMES)[number]

/** Whose wire it speaks: bodies, streams and errors have that shape. */
export type Wire = 'openai' | 'anthropic'

type Body = Readonly<Record<string, unknown>>

/** The call that a path means, by its end: what comes before is the pool's to say. */
export function apiAt(path: string): { readonly api: ApiName; readonly wire: Wire } | undefined {
  if (path.endsWith(CHAT_PATH)) return { api: 'chat', wire: 'openai' }
  if (path.endsWith('/messages')) return { api: 'chat', wire: 'anthropic' }
  const api = API_NAMES.find((name) => path.endsWith(`/${name}`))
  return api && { api, wire: 'openai' }
}

export function wireOf({ chatPath }: Pick<Provider, 'chatPath'>): Wire {
  return chatPath.endsWith('/messages') ? 'anthropic' : 'openai'
}

/** Path below the pool's base URL; undefined where the provider has no such API. */
export function pathOf(api: ApiName, provider: Provider): string | undefined {
  if (api === 'chat') return provider.chatPath
  return provider.chatPath === CHAT_PATH ? `/${api}` : undefined
}

/** LLM tokens that a body will take: errs upwards where they are counted by characters, the default. */
export function estimateOf(api: ApiName, body: Body, count?: CountText): TokenEstimate {
  if (api === 'embeddings') return estimateTokens({ messages: inputTexts(body.input), maxTokens: 0, count })
  const limit = body.max_output_tokens ?? body.max_completion_tokens ?? body.max_tokens
  const maxTokens = typeof limit === 'number' && limit >= 0 ? { maxTokens: Math.ceil(limit) } : {}
  if (api === 'chat') {
    const tools = [body.tools, body.system]
    return estimateTokens({ messages: body.messages, tools, ...maxTokens, answers: answersOf(api, body), count })
  }
  // An item of `input` is a message, or the call or result of a tool.
  const items = Array.isArray(body.input) ? body.input : [body.input]
  const isMessage = (item: unknown) => typeof item === 'string' || recordOf(item)?.content !== undefined
  const others = items.filter((item) => !isMessage(item))
  const tools = [body.tools, body.instructions, others]
  return estimateTokens({ messages: items.filter(isMessage), tools, ...maxTokens, count })
}

/** How many OpenAI's `n` asks for, of one prompt; each has its own length. Nonsense is the provider's to refuse. */
export function answersOf(api: ApiName, { n }: Body): number {
  return api === 'chat' && Number.isSafeInteger(n) && Number(n) > 1 ? Number(n) : 1
}

/** One text or many; a text may come as token numbers, which count one each. */
function inputTexts(input: unknown): unknown {
  if (!Array.isArray(input)) return input
  return input.flat(2).map((part) => (typeof part === 'number' ? '字' : part))
}

export function usageOf(api: ApiName, provider: Provider, body: unknown): Usage | undefined {
  if (api !== 'responses') return provider.usage(body)
  const usage = recordOf(recordOf(body)?.usage)
  const { input_tokens: promptTokens, output_tokens: completionTokens } = usage ?? {}
  if (typeof promptTokens !== 'number' || typeof completionTokens !== 'number') return undefined
  return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens }
}

/** Usage as far as this chunk of a stream tells it. */
export function chunkUsage(api: ApiName, provider: Provider, chunk: unknown, before?: Usage): Usage | undefined {
  if (api === 'chat' && provider.streamUsage) return provider.streamUsage(chunk, before)
  return usageOf(api, provider, api === 'responses' ? recordOf(chunk)?.response : chunk)
}

/** A failure told inside a stream, whose HTTP status was a success. */
export function chunkFailure(
  api: ApiName,
  provider: Provider,
  head: ResponseHead,
  chunk: unknown,
): ProviderFailure | undefined {
  if (api === 'chat' && provider.classifyChunk) return provider.classifyChunk(chunk)
  if (api !== 'responses') return provider.classify({ ...head, body: chunk })
  const { type, code, message, response } = recordOf(chunk) ?? {}
  if (type === 'error') return provider.classify({ ...head, body: { error: { code, message } } })
  const { error } = recordOf(response) ?? {}
  return type === 'response.failed' ? provider.classify({ ...head, body: { error } }) : undefined
}

const RESPONSE_ENDS: ReadonlySet<unknown> = new Set(['response.completed', 'response.incomplete', 'response.failed'])

/** Whether a streamed answer is whole once this event has come. */
export function isStreamEnd(api: ApiName, provider: Provider, event: EndEvent): boolean {
  if (api === 'responses') return RESPONSE_ENDS.has(recordOf(event.json)?.type)
  if (provider.endsStream) return provider.endsStream(event)
  return wireOf(provider) === 'anthropic' ? endsMessage(event) : endsStream(event)
}

/** The body as it is sent, so that a stream tells its usage; and whether the chunk which does is for us alone. */
export function askForUsage(api: ApiName, provider: Provider, body: Body): { body: Body; hidden: boolean } {
  if (api !== 'chat' || !provider.streamUsageOnRequest) return { body, hidden: false }
  const options = recordOf(body.stream_options)
  if (options?.include_usage === true) return { body, hidden: false }
  return { body: { ...body, stream_options: { ...options, include_usage: true } }, hidden: true }
}

/** OpenAI's last chunk of a stream: usage, and nothing of the answer. */
export function isUsageOnly(chunk: unknown): boolean {
  const { choices, usage } = recordOf(chunk) ?? {}
  return Array.isArray(choices) && choices.length === 0 && recordOf(usage) !== undefined
}
