import { Client, type Dispatcher } from 'undici'
import type { AnswerReader } from './http-answer.js'
import type { ProviderResponse } from './provider.js'

const ATTEMPT = Symbol('attempt')

/** What is dispatched, and by whom: a pool does not tell its clients of handlers. */
export interface AttemptOptions extends Dispatcher.DispatchOptions {
  readonly [ATTEMPT]: Attempt
}

export type StopReason = 'cancelled' | 'timed out'

/** `unsent`: certain that nothing was or will be written. */
export type AttemptEnd =
  | { readonly type: 'response'; readonly response: ProviderResponse }
  | { readonly type: 'refused' }
  | { readonly type: 'stopped'; readonly reason: StopReason; readonly sent: boolean }
  | { readonly type: 'failed'; readonly error: unknown; readonly sent: boolean }

/**
 * One request's way through undici: whether it may still be written, whether it was, its answer, and when its socket is gone.
 * It tells its end once; of a request that was sent and not wholly answered only when its socket is closed.
 * Invariant: it is written at most once. undici may take up a request again after its connection went away;
 * a grant is good for one send, so the second time it is refused.
 */
export class Attempt implements Dispatcher.DispatchHandler {
  readonly #maySend: () => boolean
  readonly #reader: AnswerReader
  readonly #tell: (end: AttemptEnd) => void
  #refused = false
  /** From here on bytes may have left. */
  #sent = false
  /** A sent request no longer occupies its socket: that is closed, or the whole answer is in. */
  #released = false
  #stopReason: StopReason | undefined
  /** Why there will be no answer, while the socket closes. */
  #error: { readonly error: unknown } | undefined
  #ended = false
  #client: TrackedClient | undefined
  #controller: Dispatcher.DispatchController | undefined

  constructor(maySend: () => boolean, reader: AnswerReader, tell: (end: AttemptEnd) => void) {
    this.#maySend = maySend
    this.#reader = reader
    this.#tell = tell
  }

  dispatch(dispatcher: Dispatcher, options: Dispatcher.DispatchOptions): void {
    const { origin, path, method, headers, body } = options
    const tagged: AttemptOptions = { origin, path, method, headers, body, [ATTEMPT]: this }
    dispatcher.dispatch(tagged, this)
  }

  /** Ends it: unsent, it never will be; sent, its socket is destroyed (unless the whole answer is in already). */
  stop(reason: StopReason): void {
    if (this.#stopReason !== undefined) return
    this.#stopReason = reason
    if (this.#sent) this.#controller?.abort(new Error(reason))
    else this.#end({ type: 'stopped', reason, sent: false })
  }

  rideOn(client: TrackedClient): void {
    this.#client = client
  }

  /** Its socket is closed. */
  disconnected(): void {
    this.#release()
    if (this.#error) this.#fail(this.#error.error)
  }

  /**
   * Called just before the headers are written to an open socket. It refuses by throwing: undici then drops the request
   * and keeps the connection, whereas `controller.abort` would destroy it.
   */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#sent) throw new Error('a request is written once only')
    if (this.#stopReason !== undefined) throw new Error(this.#stopReason)
    if (!this.#maySend()) {
      this.#refused = true
      throw new Error('it may not be sent any more')
    }
    this.#sent = true
    this.#controller = controller
    // Pipelining is 1, hence this client's next disconnection is that of the request's own socket.
    if (this.#client) this.#client.rider = this
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: ProviderResponse['headers'],
  ): void {
    // What is below is only news that the answer is coming.
    if (status >= 200) this.#reader.start(controller, { status, headers })
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#reader.take(chunk)
  }

  onResponseEnd(): void {
    this.#release()
    try {
      this.#end({ type: 'response', response: this.#reader.end() })
    } catch (error) {
      this.#fail(error)
    }
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#reader.stop()
    if (this.#sent && !this.#released) this.#error = { error }
    else this.#fail(error)
  }

  #release(): void {
    this.#released = true
    if (this.#client?.rider === this) this.#client.rider = undefined
  }

  #fail(error: unknown): void {
    const sent = this.#sent
    if (this.#refused) this.#end({ type: 'refused' })
    else if (this.#stopReason !== undefined) this.#end({ type: 'stopped', reason: this.#stopReason, sent })
    else this.#end({ type: 'failed', error, sent })
  }

  #end(end: AttemptEnd): void {
    if (this.#ended) return
    this.#ended = true
    this.#tell(end)
  }
}

/** A connection that tells the attempt which rides on it when it is gone. */
export class TrackedClient extends Client {
  rider: Attempt | undefined

  constructor(origin: string | URL, options: Client.Options) {
    super(origin, options)
    this.on('disconnect', () => this.rider?.disconnected())
  }

  override dispatch(options: AttemptOptions, handler: Dispatcher.DispatchHandler): boolean {
    options[ATTEMPT]?.rideOn(this)
    return super.dispatch(options, handler)
  }
}
