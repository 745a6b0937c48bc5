import type { Wire } from '../providers/apis.js'
import type { StreamEvent } from '../providers/sse.js'
import type { RequestSpec } from './entry.js'

/** What is said where nothing else answers; undefined where that would be no answer. */
export function messageOf({
  degrades,
  pool,
  work,
}: Pick<RequestSpec, 'degrades' | 'pool' | 'work'>): string | undefined {
  const { degradedMessage } = pool.config
  return degrades !== false && degradedMessage !== undefined && work.answersInWords ? degradedMessage : undefined
}

/** A well-formed answer whose content is the degraded message: a chat completion, or Anthropic's message. */
export function degradedAnswer(wire: Wire, requestId: string, model: string, message: string, wallMs: number) {
  const id = `headgate-${requestId}`
  return wire === 'anthropic' ? anthropicMessage(id, model, message) : completion(id, model, message, wallMs)
}

type DegradedAnswer = ReturnType<typeof degradedAnswer>

function completion(id: string, model: string, message: string, wallMs: number) {
  return {
    id,
    object: 'chat.completion' as const,
    created: Math.floor(wallMs / 1000),
    model,
    choices: [{ index: 0, message: { role: 'assistant' as const, content: message }, finish_reason: 'stop' as const }],
    usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
  }
}

function anthropicMessage(id: string, model: string, message: string) {
  return {
    id,
    type: 'message' as const,
    role: 'assistant' as const,
    model,
    content: [{ type: 'text' as const, text: message }],
    stop_reason: 'end_turn' as const,
    stop_sequence: null,
    usage: { input_tokens: 0, output_tokens: 0 },
  }
}

/** The same answer as the events of a stream. */
export function degradedEvents(answer: DegradedAnswer): StreamEvent[] {
  return 'choices' in answer ? completionEvents(answer) : messageEvents(answer)
}

function completionEvents({ choices, usage, ...head }: ReturnType<typeof completion>): StreamEvent[] {
  const [{ message, finish_reason }] = choices as [(typeof choices)[number]]
  const chunk = (delta: object, reason: string | null, more: object = {}) =>
    eventOf({
      ...head,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, finish_reason: reason }],
      ...more,
    })
  return [chunk(message, null), chunk({}, finish_reason, { usage }), { data: '[DONE]', json: undefined }]
}

function messageEvents({ content, stop_reason, usage, ...head }: ReturnType<typeof anthropicMessage>): StreamEvent[] {
  const [{ text }] = content as [(typeof content)[number]]
  const start = { ...head, content: [], stop_reason: null, usage }
  return [
    { type: 'message_start', message: start },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason, stop_sequence: null }, usage },
    { type: 'message_stop' },
  ].map((data) => eventOf(data, data.type))
}

function eventOf(json: object, event?: string): StreamEvent {
  return { event, data: JSON.stringify(json), json }
}
