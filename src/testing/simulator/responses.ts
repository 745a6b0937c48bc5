import { contentOf, countTokens, maxTokensOf, type ModelRequest, toolCallsOf, wordsOf } from './completion.js'
import type { Api } from './profile.js'

/** OpenAI's responses, whole and as a stream of typed events, numbered; the last has the whole response, usage and all. */
export const RESPONSES: Api = {
  read(body) {
    const { model, input, instructions, stream, max_output_tokens } = Object(body)
    if (typeof model !== 'string' || (typeof input !== 'string' && !Array.isArray(input))) return undefined
    const given = max_output_tokens ?? undefined
    const maxTokens = maxTokensOf(given)
    if (maxTokens === undefined) return undefined
    return {
      model,
      body: Object(body),
      stream: stream === true,
      includeUsage: true,
      maxTokens,
      maxTokensGiven: given !== undefined,
      promptTokens: countTokens(instructions) + countInput(input),
      completionTokens: maxTokens,
    }
  },

  body: (request, id, createdMs) => responseOf(request, id, createdMs, outputOf(request, id)),

  stream: {
    events: numbered(eventsOf),
    failure: ({ code, body }, sent) => {
      const { message } = Object(Object(body).error)
      return written({ type: 'error', code, message: message ?? code, param: null }, sent)
    },
    keepAlive: ': keep-alive\n\n',
  },
}

interface Event {
  readonly type: string
  readonly [field: string]: unknown
}

type Item = ReturnType<typeof messageOf> | ReturnType<typeof callsOf>[number]

/** A text, or items: messages, and calls of tools with their results. */
function countInput(input: string | readonly unknown[]): number {
  if (typeof input === 'string') return countTokens(input)
  return input.reduce((sum: number, item) => {
    const { content, output, arguments: call } = Object(item)
    return sum + countTokens(content ?? output ?? call)
  }, 0)
}

function textPart(text: string) {
  return { type: 'output_text', annotations: [], logprobs: [], text }
}

function messageOf(request: ModelRequest, id: string) {
  const status = request.cut ? 'incomplete' : 'completed'
  return { id: `msg_${id}`, type: 'message', status, role: 'assistant', content: [textPart(contentOf(request))] }
}

function callsOf(request: ModelRequest, id: string) {
  return toolCallsOf(request, id).map(({ id: callId, name, arguments: input }) => {
    const call = { id: `fc_${callId}`, type: 'function_call', status: 'completed', call_id: callId, name }
    return { ...call, arguments: JSON.stringify(input) }
  })
}

function outputOf(request: ModelRequest, id: string): Item[] {
  const calls = callsOf(request, id)
  return calls.length > 0 && !contentOf(request) ? calls : [messageOf(request, id), ...calls]
}

/** `output` undefined: still in progress. */
function responseOf(request: ModelRequest, id: string, createdMs: number, output: readonly Item[] | undefined) {
  const { body, promptTokens, completionTokens } = request
  const createdAt = Math.floor(createdMs / 1000)
  const usage = {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + completionTokens,
  }
  return {
    id: `resp_${id}`,
    object: 'response',
    created_at: createdAt,
    status: output ? (request.cut ? 'incomplete' : 'completed') : 'in_progress',
    background: false,
    completed_at: output && !request.cut ? createdAt : null,
    error: null,
    incomplete_details: output && request.cut ? { reason: 'max_output_tokens' } : null,
    instructions: body.instructions ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    model: request.model,
    output: output ?? [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    previous_response_id: body.previous_response_id ?? null,
    reasoning: { effort: null, summary: null },
    store: body.store ?? true,
    temperature: body.temperature ?? 1,
    text: body.text ?? { format: { type: 'text' } },
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: body.top_p ?? 1,
    truncation: body.truncation ?? 'disabled',
    usage: output ? usage : null,
    user: body.user ?? null,
    metadata: body.metadata ?? {},
  }
}

function* eventsOf(request: ModelRequest, id: string, createdMs: number): Generator<Event> {
  const output = outputOf(request, id)
  const begun = responseOf(request, id, createdMs, undefined)
  yield { type: 'response.created', response: begun }
  yield { type: 'response.in_progress', response: begun }
  for (const [index, item] of output.entries()) {
    yield* 'content' in item ? messageEvents(request, item, index) : callEvents(item, index)
  }
  const response = responseOf(request, id, createdMs, output)
  yield { type: request.cut ? 'response.incomplete' : 'response.completed', response }
}

function* messageEvents(request: ModelRequest, item: ReturnType<typeof messageOf>, index: number): Generator<Event> {
  const at = { output_index: index }
  const part = { item_id: item.id, ...at, content_index: 0 }
  yield { type: 'response.output_item.added', ...at, item: { ...item, status: 'in_progress', content: [] } }
  yield { type: 'response.content_part.added', ...part, part: textPart('') }
  for (const delta of wordsOf(request)) yield { type: 'response.output_text.delta', ...part, delta, logprobs: [] }
  const [whole] = item.content
  yield { type: 'response.output_text.done', ...part, text: whole!.text, logprobs: [] }
  yield { type: 'response.content_part.done', ...part, part: whole }
  yield { type: 'response.output_item.done', ...at, item }
}

function* callEvents(item: ReturnType<typeof callsOf>[number], index: number): Generator<Event> {
  const at = { output_index: index }
  const input = { item_id: item.id, ...at }
  yield { type: 'response.output_item.added', ...at, item: { ...item, status: 'in_progress', arguments: '' } }
  yield { type: 'response.function_call_arguments.delta', ...input, delta: item.arguments }
  yield { type: 'response.function_call_arguments.done', ...input, name: item.name, arguments: item.arguments }
  yield { type: 'response.output_item.done', ...at, item }
}

function written({ type, ...more }: Event, number: number): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: number, ...more })}\n\n`
}

function numbered<A extends unknown[]>(events: (...of: A) => Iterable<Event>) {
  return function* (...of: A): Generator<string> {
    let number = 0
    for (const event of events(...of)) yield written(event, number++)
  }
}
