import { copyOf, type KnownAnswer } from '../answers/answer.js'
import { HeadgateError } from '../errors.js'
import { failureOf } from '../providers/provider.js'
import type { BeginNote } from './degrading.js'
import type { Entry } from './entry.js'
import type { Listener } from './tape.js'

type Begin = (entry: Entry, note: BeginNote) => void

const NOTHING_USED = { estimatedTokens: 0, promptTokens: 0, completionTokens: 0, totalTokens: 0 }
/** Of an answer that comes live: whoever is further behind is left, for nobody waits for him. */
const MAX_BEHIND_CHARS = 1024 * 1024

/** Gives a request an answer that is there already; a streamed one as a stream. Nothing is charged for it. */
export function giveKnown(
  entry: Entry,
  { httpStatus, value, events }: KnownAnswer,
  begin: Begin,
  outcome: 'completed' | 'degraded',
): void {
  entry.value = value
  entry.httpStatus = httpStatus
  entry.usage = NOTHING_USED
  const { stream } = entry.spec
  // What has begun was listened to, and is all there.
  if (!stream || !events || stream.begun) return
  begin(entry, { head: { status: httpStatus, headers: {} }, via: 'cache', outcome })
  for (const event of events) stream.put(event)
}

/** Passes on to a queued request what comes of the call of another one. */
export function listenerOf(entry: Entry, begin: Begin, breakOff: (error: HeadgateError) => void): Listener {
  const { stream, reader } = entry.spec
  return (event, httpStatus) => {
    if (!stream || entry.state !== 'queued') return false
    if (!stream.begun) begin(entry, { head: { status: httpStatus, headers: {} }, via: 'cache' })
    if (reader && reader.waitingChars > MAX_BEHIND_CHARS) {
      breakOff(new HeadgateError('OVERLOADED', 'the reader is too far behind an answer that others share'))
      return false
    }
    stream.put(copyOf(event))
    return true
  }
}

/** Notes what broke the answer of another request that this one had begun to pass on. */
export function breakWith(entry: Entry, error: HeadgateError): void {
  const { code, message } = error
  // Not its cause: that is told to who made the call.
  entry.endedBy = new HeadgateError(code, message)
  entry.failure = { ...failureOf('UNKNOWN', message), code, retryable: false, mendable: false }
}
