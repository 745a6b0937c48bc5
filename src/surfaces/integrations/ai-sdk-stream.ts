import type { LanguageModelMiddleware } from 'ai'

type Stream = Awaited<ReturnType<NonNullable<LanguageModelMiddleware['wrapStream']>>>['stream']
type StreamPart = Stream extends ReadableStream<infer Part> ? Part : never

/** The reader's side of a stream that has begun. */
export interface Begun {
  readonly stream: Stream
  /** Ends it with an error: as one part more, or by breaking it off, as an abort does. */
  end(error: unknown, how: 'part' | 'break'): void
}

export interface Pipe {
  /** Called when the answer has begun; before, whatever fails is thrown. */
  readonly begin: (begun: Begun) => void
  readonly finish: (part: Extract<StreamPart, { type: 'finish' }>) => void
  /** Called when the reader went away before the end. */
  readonly leave: () => void
  /** Of the call. Whoever ended it knows why, and tells the reader. */
  readonly signal: AbortSignal
}

/** Say nothing yet of whether the answer comes. */
const EARLY: ReadonlySet<StreamPart['type']> = new Set(['stream-start', 'response-metadata', 'raw'])

/**
 * Passes a model's parts on to a reader of their own, as fast as they are taken; resolves at the end. An error before the
 * first part of the answer is thrown, for it can be retried; a later one goes to the reader, and then one without an HTTP
 * status is thrown: that isn't retried.
 */
export async function pipe(source: Stream, { begin, finish, leave, signal }: Pipe): Promise<void> {
  const reader = source.getReader()
  const early: StreamPart[] = []
  let next = await reader.read()
  for (; !next.done && EARLY.has(next.value.type); next = await reader.read()) early.push(next.value)
  if (next.done) throw new Error('the stream ended before its answer began')
  if (next.value.type === 'error') throw next.value.error
  const { stream, writer, end } = readersSide(leave)
  begin({ stream, end })
  let failed = false
  try {
    for (const part of early) await writer.write(part)
    for (; !next.done; next = await reader.read()) {
      if (next.value.type === 'finish') finish(next.value)
      if (next.value.type === 'error') failed = true
      await writer.write(next.value)
    }
    await writer.close()
  } catch (error) {
    if (!signal.aborted) end(error, 'part')
    await reader.cancel(error).catch(() => {})
    throw new Error('the stream was cut after its answer had begun', { cause: error })
  }
  if (failed) throw new Error('the stream failed after its answer had begun')
}

function readersSide(leave: () => void) {
  const { readable, writable } = new TransformStream<StreamPart, StreamPart>()
  const writer = writable.getWriter()
  let ended = false
  writer.closed.catch(() => {
    if (!ended) leave()
  })
  const end: Begun['end'] = (error, how) => {
    if (ended) return
    ended = true
    // The reader may be gone already: then nobody is told.
    if (how === 'break') writer.abort(error).catch(() => {})
    else Promise.all([writer.write({ type: 'error', error }), writer.close()]).catch(() => {})
  }
  return { stream: readable as Stream, writer, end }
}
