import { createParser } from 'eventsource-parser'

/** One event of a stream, as it came; or a comment, which some providers keep a connection alive with. */
export interface StreamEvent {
  readonly event?: string | undefined
  readonly id?: string | undefined
  /** Undefined for a comment, empty for a heartbeat. */
  readonly data: string | undefined
  readonly comment?: string
  /** `data` parsed; undefined where it is no JSON. */
  readonly json: unknown
}

/** Far more than any event holds: it bounds what one that never ends may take. */
const MAX_EVENT_CHARS = 16 * 1024 * 1024

/** Cuts a stream's text into events, wherever it was cut before. */
export class SseReader {
  readonly #events: StreamEvent[] = []
  readonly #parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: ({ event, id, data }) => this.#events.push({ event, id, data, json: jsonOf(data) }),
    onComment: (comment) => this.#events.push({ data: undefined, comment, json: undefined }),
  })

  /** The events that this text completes. Throws when one grows too long. */
  read(text: string): readonly StreamEvent[] {
    this.#parser.feed(text)
    return this.#events.splice(0)
  }
}

function jsonOf(data: string): unknown {
  if (!data.startsWith('{')) return undefined
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}

/** An event's text on the wire. A heartbeat goes out as a comment: OpenAI's SDK takes an empty `data:` for JSON. */
export function textOf({ event, id, data, comment }: StreamEvent): string {
  if (data === undefined) return `: ${comment ?? ''}\n\n`
  if (data === '' && event === undefined) return ': heartbeat\n\n'
  const lines = data.split('\n').map((line) => `data: ${line}\n`)
  return `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}${lines.join('')}\n`
}
