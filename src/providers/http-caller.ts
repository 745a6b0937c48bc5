import { type Dispatcher, Pool } from 'undici'
import { type Clock, realClock } from '../clock.js'
import { Attempt, type StopReason, TrackedClient } from './http-attempt.js'
import { failureOf, type ProviderFailure, type ProviderResponse, type ResponseHead } from './provider.js'
import { parseBody } from './wire.js'

const CONNECT_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 60_000
/** A server's `Keep-Alive: timeout=…` may lengthen the time a connection is kept, up to here. */
const MAX_KEEP_ALIVE_MS = 600_000
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024
/** undici's own timers come behind the call's, and replace its default of 300 s. */
const UNDICI_SLACK_MS = 1_000
const MAX_TIMER_MS = 2 ** 31 - 1 - UNDICI_SLACK_MS

const TIMEOUT_CODES: ReadonlySet<string> = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])

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
  readonly signal: AbortSignal
  /** Asked once, immediately before the request is written to a socket that is open already. */
  readonly maySend: () => boolean
  /** Takes the answer bit by bit where it is an event stream of a 2xx; then the response has no body. */
  readonly sink?: StreamSink
}

/** Where a streamed answer goes. Upstream is read on when `write` is through: what it waits for holds the provider up. */
export interface StreamSink {
  /** Called before the first `write`, once. */
  open(head: ResponseHead): void
  /** What it throws ends the call, and its socket. */
  write(text: string): Promise<void>
}

export type CallResult =
  | { readonly type: 'response'; readonly response: ProviderResponse; readonly socketClosed: false }
  /** `maySend` said no: nothing was written, and the connection stays open for the next call. */
  | { readonly type: 'unsent' }
  /** `sent: false`: certainly nothing was written. */
  | { readonly type: 'failed'; readonly failure: ProviderFailure; readonly sent: boolean }

/**
 * HTTP calls over undici's `request` and keep-alive connections of its own, as many as there are calls in flight.
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
  readonly #running = new Map<Attempt, Promise<CallResult>>()
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
      factory: (origin, clientOptions) => new TrackedClient(origin, clientOptions),
    }
  }

  async call(input: HttpCall): Promise<CallResult> {
    const url = parseUrl(input.url)
    if (!url) {
      const failure = failureOf('BAD', 'the provider URL is not an http or https URL')
      return { type: 'failed', failure, sent: false }
    }
    if (this.#closed || input.signal.aborted) {
      return { type: 'failed', failure: stoppedFailure('cancelled', url.host, input.timeoutMs), sent: false }
    }
    const attempt = new Attempt(input.maySend)
    const onAbort = () => attempt.stop('cancelled')
    input.signal.addEventListener('abort', onAbort, { once: true })
    const timer = this.#clock.setTimeout(() => attempt.stop('timed out'), Math.min(MAX_TIMER_MS, input.timeoutMs))
    const result = this.#run(attempt, url, input)
    this.#running.set(attempt, result)
    try {
      return await result
    } finally {
      this.#clock.clearTimeout(timer)
      input.signal.removeEventListener('abort', onAbort)
      this.#running.delete(attempt)
    }
  }

  /** Cancels what is in flight and closes every connection, one still being made as soon as it stands. Drain before. */
  async close(): Promise<void> {
    this.#closed = true
    for (const attempt of this.#running.keys()) attempt.stop('cancelled')
    await Promise.all(this.#running.values())
    const pools = [...this.#pools.values()]
    this.#pools.clear()
    await Promise.all(pools.map((pool) => pool.destroy()))
  }

  async #run(attempt: Attempt, url: URL, input: HttpCall): Promise<CallResult> {
    const answer = this.#request(attempt, url, input).then(
      (response) => ({ response }),
      (error: unknown) => ({ error }),
    )
    const end = await Promise.race([answer, attempt.stoppedUnsent.then(() => ({ error: undefined }))])
    if ('response' in end) {
      // undici keeps an answered connection back for one turn of the event loop; a caller who sends the next request
      // at once (a slot handed over) would have to make a new one, and its handshake outlasts `sendBy`.
      await new Promise((resolve) => setImmediate(resolve))
      return { type: 'response', response: end.response, socketClosed: false }
    }
    if (attempt.refused) return { type: 'unsent' }
    if (attempt.sent) {
      attempt.abort(new Error('failed')) // whatever went wrong, the socket must go; mostly it has gone already
      await attempt.released
    }
    const { stopReason } = attempt
    const failure = stopReason
      ? stoppedFailure(stopReason, url.host, input.timeoutMs)
      : this.#networkFailure(end.error, url.host, input.timeoutMs)
    return { type: 'failed', failure, sent: attempt.sent }
  }

  async #request(attempt: Attempt, url: URL, input: HttpCall): Promise<ProviderResponse> {
    const undiciTimeoutMs = Math.min(MAX_TIMER_MS, Math.ceil(Math.max(0, input.timeoutMs))) + UNDICI_SLACK_MS
    // No `signal`: undici would hold a cancelled request until its connection stands, and then destroy that connection.
    const answer = await this.#poolOf(url.origin)
      .compose(attempt.intercept)
      .request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: 'POST',
        headers: { 'content-type': 'application/json', ...input.headers },
        body: input.body,
        headersTimeout: undiciTimeoutMs,
        bodyTimeout: undiciTimeoutMs,
      } satisfies Dispatcher.RequestOptions)
    const head = { status: answer.statusCode, headers: answer.headers }
    if (!input.sink || !isEventStream(head)) return { ...head, body: parseBody(await answer.body.text()) }
    await pump(answer.body, input.sink, head, attempt.released)
    return { ...head, body: undefined }
  }

  /** Our own map, not undici's Agent: that closes an origin's pool whenever its last connection goes, also in mid-burst. */
  #poolOf(origin: string): Pool {
    const known = this.#pools.get(origin)
    if (known) return known
    const pool = new Pool(origin, this.#poolOptions)
    this.#pools.set(origin, pool)
    return pool
  }

  #networkFailure(error: unknown, host: string, timeoutMs: number): ProviderFailure {
    const code = errorCodeOf(error)
    if (TIMEOUT_CODES.has(code)) return stoppedFailure('timed out', host, timeoutMs)
    if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
      const message = `the answer of ${host} is longer than ${this.#maxResponseBytes} bytes`
      return failureOf('UNKNOWN', message, { cause: error })
    }
    // Not the cause nor its text: it may quote the header that it found invalid.
    if (code === 'UND_ERR_INVALID_ARG') return failureOf('BAD', `the request to ${host} has an invalid header or path`)
    return failureOf('NET', `the connection to ${host} failed (${code || 'no code'})`, { cause: error })
  }
}

/** Waits for the sink no longer once the socket is free: then nothing is held up by it, and what is left is little. */
async function pump(
  body: AsyncIterable<Uint8Array>,
  sink: StreamSink,
  head: ResponseHead,
  released: Promise<void>,
): Promise<void> {
  const decoder = new TextDecoder()
  // Not Promise.race, which would leave something on `released` with every piece, to the end of the stream.
  let isReleased = false
  let goOn = () => {}
  void released.then(() => {
    isReleased = true
    goOn()
  })
  const write = (text: string) =>
    new Promise<void>((resolve, reject) => {
      goOn = resolve
      sink.write(text).then(resolve, reject)
      if (isReleased) queueMicrotask(resolve)
    })
  sink.open(head)
  for await (const bytes of body) await write(decoder.decode(bytes, { stream: true }))
  await write(`${decoder.decode()}\n\n`)
}

function isEventStream({ status, headers }: ResponseHead): boolean {
  return status >= 200 && status < 300 && /^text\/event-stream\b/i.test(String(headers['content-type'] ?? ''))
}

function stoppedFailure(reason: StopReason, host: string, timeoutMs: number): ProviderFailure {
  if (reason === 'timed out') return failureOf('TMO', `${host} did not answer within ${Math.round(timeoutMs)} ms`)
  return { class: 'UNKNOWN', code: 'CANCELLED', retryable: false, mendable: false, message: 'the call was cancelled' }
}

function parseUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : undefined
}

/** Happy eyeballs reports the failure of several addresses as one AggregateError, with the code of the first. */
function errorCodeOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const { code } = error as NodeJS.ErrnoException
  if (code !== undefined) return code
  return error instanceof AggregateError ? errorCodeOf(error.errors[0]) : ''
}
