import { recordOf } from '../providers/wire.js'
import type { StreamEvent } from '../providers/sse.js'

/**
 * A whole chat completion as the events of a stream: for who asked for one, of a provider that answers at once. An SDK would
 * take the JSON for a stream without an event. Undefined for a body that is none.
 */
export function completionAsStream(body: unknown): StreamEvent[] | undefined {
  const { choices, ...head } = recordOf(body) ?? {}
  if (!Array.isArray(choices)) return undefined
  const pieces = choices.map((choice, index) => {
    const { message, ...rest } = recordOf(choice) ?? {}
    return { index, ...rest, delta: deltaOf(recordOf(message) ?? {}) }
  })
  const json = { ...head, object: 'chat.completion.chunk', choices: pieces }
  return [
    { data: JSON.stringify(json), json },
    { data: '[DONE]', json: undefined },
  ]
}

/** In a stream the calls of tools are told apart by their index. */
function deltaOf({ tool_calls: calls, ...message }: Readonly<Record<string, unknown>>) {
  if (!Array.isArray(calls)) return message
  return { ...message, tool_calls: calls.map((call, index) => ({ index, ...recordOf(call) })) }
}
