import { Pool } from 'undici'
import { type Clock, realClock } from '../clock.js'
import { Registry } from '../registry.js'
import { answerReader, type StreamSink } from './http-answer.js'
import { Attempt, type AttemptEnd, type StopReason, TrackedClient } from './http-attempt.js'
import { failureOf, type ProviderFailure, type ProviderResponse } from './provider.js'

const CONNECT_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 60_000
/** A server's `Keep-Alive: timeout=…` may lengthen the time a connection is kept, up to here. */
const MAX_KEEP_ALIVE_MS = 600_000
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024
const MAX_TIMER_MS = 2 ** 31 - 1
/** Parsed URLs that are kept: the configuration names few. */
const MAX_TARGETS = 1_000

export interface HttpCallerOptions {
  /** Default 10 s. */
  readonly connectTimeoutMs?: number
  /** How long an idle connection is kept, where the server does not say. Default 60 s. */
  readonly keepAliveMs?: number
  /** A longer answer is cut off, and not retried. Default 64 MiB. */
  readonly maxResponseBytes?: number
  readonly clock?: Pick<Clock, 'setTimeout' | 'clearTimeout'>
}

export interface HttpCall {
  readonly url: string
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  /** JSON. */
  readonly body: string
  /** For the whole call: connecting, writing, waiting, reading. */
  readonly timeoutMs: number
  readonly cut: Cuttable
  /** Asked once, immediately before the request is written to a socket that is open already. */
  readonly maySend: () => boolean
  /** Takes the answer bit by bit where it is an event stream of a 2xx; then the response has no body. */
  readonly sink?: StreamSink | undefined
}

/** Whoever may cut a call off, at any time. */
interface Cuttable {
  readonly isMade: boolean
  /** Called when it is made; the call is its one hearer, and leaves when it ends. */
  onMade: (() => void) | undefined
}

export type CallResult =
  | { readonly type: 'response'; readonly response: ProviderResponse; readonly socketClosed: false }
  /** `maySend` said no: nothing was written, and the connection stays open for the next call. */
  | { readonly type: 'unsent' }
  /** `sent: false`: certainly nothing was written. */
  | { readonly type: 'failed'; readonly failure: ProviderFailure; readonly sent: boolean }

interface Running {
  readonly attempt: Attempt
  readonly result: Promise<CallResult>
}

/** An URL as undici takes it. */
interface Target {
  readonly origin: string
  readonly path: string
  readonly host: string
}

/**
 * HTTP calls over undici's `dispatch` and keep-alive connections of its own, as many as there are calls in flight.
 *
 * `call` never rejects. Its guarantee: when a call that was sent has ended without a whole answer (cut, aborted,
 * timed out, too long), its upstream socket has emitted `close` before the promise resolves, so that this process
 * neither writes to it nor reads from it any more. When the provider notices is up to the network: that is what the guard is for.
 * An unsent call resolves at once, even while its connection is still being made.
 */
export class HttpCaller {
  readonly #poolOptions: Pool.Options
  readonly #maxResponseBytes: number
  readonly #clock: Pick<Clock, 'setTimeout' | 'clearTimeout'>
  /** By origin; as many as the configuration names. */
  readonly #pools = new Map<string, Pool>()
  readonly #targets = new Map<string, Target>()
  readonly #running = new Registry<number, Running>()
  #calls = 0
  #closed = false

  constructor(options: HttpCallerOptions = {}) {
    const keepAliveMs = options.keepAliveMs ?? KEEP_ALIVE_MS
    this.#clock = options.clock ?? realClock
    this.#maxResponseBytes = options.maxResponseBytes ?? MAX_RESPONSE_BYTES
    this.#poolOptions = {
      connections: null, // unlimited: the limits upstream bound what is in flight
      pipelining: 1,
      allowH2: false,
      connectTimeout: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      keepAliveTimeout: keepAliveMs,
      keepAliveMaxTimeout: Math.max(keepAliveMs, MAX_KEEP_ALIVE_MS),
      maxResponseSize: this.#maxResponseBytes,
      // The call's own timer is for the whole of it.
      headersTimeout: 0,
      bodyTimeout: 0,
      factory: (origin, clientOptions) => new TrackedClient(origin, clientOptions),
    }
  }

  call(input: HttpCall): Promise<CallResult> {
    const target = this.#targetOf(input.url)
    if (!target) {
      const failure = failureOf('BAD', 'the provider URL is not an http or https URL')
      return Promise.resolve({ type: 'failed', failure, sent: false })
    }
    if (this.#closed || input.cut.isMade) {
      const failure = stoppedFailure('cancelled', target.host, input.timeoutMs)
      return Promise.resolve({ type: 'failed', failure, sent: false })
    }
    return this.#run(target, input)
  }

  /** Cancels what is in flight and closes every connection, one still being made as soon as it stands. Drain before. */
  async close(): Promise<void> {
    this.#closed = true
    const running = [...this.#running]
    for (const { attempt } of running) attempt.stop('cancelled')
    await Promise.all(running.map(({ result }) => result))
    const pools = [...this.#pools.values()]
    this.#pools.clear()
    await Promise.all(pools.map((pool) => pool.destroy()))
  }

  #run(target: Target, input: HttpCall): Promise<CallResult> {
    const { cut, maySend, sink, timeoutMs } = input
    const number = ++this.#calls
    let resolve: (result: CallResult) => void
    const result = new Promise<CallResult>((done) => {
      resolve = done
    })
    const attempt = new Attempt(maySend, answerReader(sink), (end) => {
      this.#clock.clearTimeout(timer)
      cut.onMade = undefined
      this.#running.delete(number)
      const told = this.#resultOf(end, target.host, timeoutMs)
      // undici keeps an answered connection back for one turn of the event loop, which begins when this is through; a caller
      // who sends the next request at once (a slot handed over) would have to make a new one, and its handshake outlasts `sendBy`.
      if (told.type === 'response') Promise.resolve().then(() => setImmediate(resolve, told))
      else resolve(told)
    })
    const timer = this.#clock.setTimeout(() => attempt.stop('timed out'), Math.min(MAX_TIMER_MS, timeoutMs))
    cut.onMade = () => attempt.stop('cancelled')
    this.#running.set(number, { attempt, result })
    attempt.dispatch(this.#poolOf(target.origin), {
      origin: target.origin,
      path: target.path,
      method: 'POST',
      headers: input.headers['content-type'] ? input.headers : { 'content-type': 'application/json', ...input.headers },
      body: input.body,
    })
    return result
  }

  #resultOf(end: AttemptEnd, host: string, timeoutMs: number): CallResult {
    switch (end.type) {
      case 'response':
        return { type: 'response', response: end.response, socketClosed: false }
      case 'refused':
        return { type: 'unsent' }
      case 'stopped':
        return { type: 'failed', failure: stoppedFailure(end.reason, host, timeoutMs), sent: end.sent }
      case 'failed':
        return { type: 'failed', failure: this.#networkFailure(end.error, host), sent: end.sent }
    }
  }

  #targetOf(text: string): Target | undefined {
    const known = this.#targets.get(text)
    if (known) return known
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url?.protocol !== 'http:' && url?.protocol !== 'https:') return undefined
    const target = { origin: url.origin, path: url.pathname + url.search, host: url.host }
    if (this.#targets.size < MAX_TARGETS) this.#targets.set(text, target)
    return target
  }

  /** Our own map, not undici's Agent: that closes an origin's pool whenever its last connection goes, also in mid-burst. */
  #poolOf(origin: string): Pool {
    const known = this.#pools.get(origin)
    if (known) return known
    const pool = new Pool(origin, this.#poolOptions)
    this.#pools.set(origin, pool)
    return pool
  }

  #networkFailure(error: unknown, host: string): ProviderFailure {
    const code = errorCodeOf(error)
    if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
      const message = `the answer of ${host} is longer than ${this.#maxResponseBytes} bytes`
      return failureOf('UNKNOWN', message, { cause: error })
    }
    // Not the cause nor its text: it may quote the header that it found invalid.
    if (code === 'UND_ERR_INVALID_ARG') return failureOf('BAD', `the request to ${host} has an invalid header or path`)
    return failureOf('NET', `the connection to ${host} failed (${code || 'no code'})`, { cause: error })
  }
}

function stoppedFailure(reason: StopReason, host: string, timeoutMs: number): ProviderFailure {
  if (reason === 'timed out') return failureOf('TMO', `${host} did not answer within ${Math.round(timeoutMs)} ms`)
  return { class: 'UNKNOWN', code: 'CANCELLED', retryable: false, mendable: false, message: 'the call was cancelled' }
}

/** Happy eyeballs reports the failure of several addresses as one AggregateError, with the code of the first. */
function errorCodeOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const { code } = error as NodeJS.ErrnoException
  if (code !== undefined) return code
  return error instanceof AggregateError ? errorCodeOf(error.errors[0]) : ''
}
