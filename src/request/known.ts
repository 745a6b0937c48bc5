import type { KnownAnswer } from '../answers/answer.js'
import type { BeginNote } from './degrading.js'
import type { Entry } from './entry.js'

const NOTHING_USED = { estimatedTokens: 0, promptTokens: 0, completionTokens: 0, totalTokens: 0 }

/** Gives a request an answer that is there already; a streamed one as a stream. Nothing is charged for it. */
export function giveKnown(
  entry: Entry,
  { httpStatus, value, events }: KnownAnswer,
  begin: (entry: Entry, note: BeginNote) => void,
  outcome: 'completed' | 'degraded',
): void {
  entry.value = value
  entry.httpStatus = httpStatus
  entry.usage = NOTHING_USED
  const { stream } = entry.spec
  if (!stream || !events) return
  begin(entry, { head: { status: httpStatus, headers: {} }, via: 'cache', outcome })
  for (const event of events) stream.put(event)
}
