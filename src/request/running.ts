import type { RequestEvent } from '../../machines/request-machine.js'
import type { KnownAnswer } from '../answers/answer.js'
import type { HeadgateError } from '../errors.js'
import type { BeginNote } from './degrading.js'
import type { Entry } from './entry.js'
import { chunksOf } from './event-stream.js'
import { breakWith, giveKnown, listenerOf } from './known.js'
import type { Outcome, RunningRequest } from './request.js'

/** What the producer and the queue see of a request that was started. */
export function runningOf(
  entry: Entry,
  outcome: Promise<Outcome>,
  { send, begin }: { send: (event: RequestEvent) => void; begin: (entry: Entry, note: BeginNote) => void },
): RunningRequest {
  const { spec, actor } = entry
  const { reader: stream, signal } = spec
  const cancel = () => send({ type: 'CANCEL' })
  if (stream) stream.onAbandon = cancel
  const breakOff = (error: HeadgateError) => {
    if (actor.getSnapshot().value !== 'queued') return
    breakWith(entry, error)
    send({ type: 'ADMITTED' })
  }
  signal?.addEventListener('abort', cancel, { once: true })
  const running: RunningRequest = {
    request: {
      id: spec.id,
      actor,
      outcome,
      stream,
      cancel,
      get pool() {
        return entry.spec.pool.config.name
      },
      get state() {
        return actor.getSnapshot().value
      },
      get chunks() {
        return chunksOf(stream)
      },
    },
    admit: () => {
      // It waited for a place, and didn't live to have it.
      if (actor.getSnapshot().value === 'done') return Promise.resolve()
      const ended = new Promise<void>((done) => {
        entry.onEnd = done
      })
      send({ type: 'ADMITTED' })
      return ended
    },
    answer: (known: KnownAnswer) => {
      if (actor.getSnapshot().value !== 'queued') return
      giveKnown(entry, known, begin, 'completed')
      send({ type: 'ANSWER_KNOWN', via: 'cache' })
    },
    listener: listenerOf(entry, begin, breakOff),
    breakOff,
    onLeave: () => false,
    onDoneWhileQueued: () => {},
  }
  entry.onLeave = (call) => running.onLeave(call)
  entry.onEnd = () => running.onDoneWhileQueued()
  void outcome.then(() => signal?.removeEventListener('abort', cancel))
  return running
}
