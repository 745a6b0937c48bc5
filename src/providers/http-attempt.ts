import { Client, type Dispatcher } from 'undici'

const ATTEMPT = Symbol('attempt')

interface AttemptOptions extends Dispatcher.DispatchOptions {
  [ATTEMPT]?: Attempt
}

export type StopReason = 'cancelled' | 'timed out'

/**
 * One request's way through undici: whether it may still be written, whether it was, and when its socket is gone.
 * Invariant: it is written at most once. undici may take up a request again after its connection went away;
 * a grant is good for one send, so the second time it is refused.
 */
export class Attempt {
  /** From here on bytes may have left. */
  sent = false
  /** `maySend` said no. */
  refused = false
  stopReason: StopReason | undefined
  /** Resolves when it is stopped and certain that nothing was or will be written. */
  readonly stoppedUnsent: Promise<void>
  /** Resolves when a sent request no longer occupies its socket: the socket is closed, or the whole answer is in. */
  readonly released: Promise<void>
  readonly #maySend: () => boolean
  #resolveStopped: () => void = () => undefined
  #resolveReleased: () => void = () => undefined
  #client: Client | undefined
  #controller: Dispatcher.DispatchController | undefined

  constructor(maySend: () => boolean) {
    this.#maySend = maySend
    this.stoppedUnsent = new Promise((resolve) => {
      this.#resolveStopped = resolve
    })
    this.released = new Promise((resolve) => {
      this.#resolveReleased = resolve
    })
  }

  /** Ends it: unsent, it never will be; sent, its socket is destroyed (unless the whole answer is in already). */
  stop(reason: StopReason): void {
    if (this.stopReason !== undefined) return
    this.stopReason = reason
    if (this.sent) this.abort(new Error(reason))
    else this.#resolveStopped()
  }

  abort(error: Error): void {
    this.#controller?.abort(error)
  }

  /** The interceptor for `dispatcher.compose`. */
  readonly intercept: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
    const tagged: AttemptOptions = { ...options, [ATTEMPT]: this }
    return dispatch(tagged, new AttemptHandler(this, handler))
  }

  rideOn(client: Client): void {
    this.#client = client
  }

  /**
   * Called just before the headers are written to an open socket. It refuses by throwing: undici then drops the request
   * and keeps the connection, whereas `controller.abort` would destroy it.
   */
  start(controller: Dispatcher.DispatchController): void {
    if (this.sent) throw new Error('a request is written once only')
    if (this.stopReason !== undefined) throw new Error(this.stopReason)
    if (!this.#maySend()) {
      this.refused = true
      throw new Error('it may not be sent any more')
    }
    this.sent = true
    this.#controller = controller
    // Pipelining is 1, hence this client's next disconnection is that of the request's own socket.
    this.#client?.once('disconnect', this.release)
  }

  readonly release = (): void => {
    this.#client?.off('disconnect', this.release)
    this.#resolveReleased()
  }
}

/** A connection that tells each attempt which client it rides on; a pool does not say. */
export class TrackedClient extends Client {
  override dispatch(options: AttemptOptions, handler: Dispatcher.DispatchHandler): boolean {
    options[ATTEMPT]?.rideOn(this)
    return super.dispatch(options, handler)
  }
}

class AttemptHandler implements Dispatcher.DispatchHandler {
  readonly #attempt: Attempt
  readonly #inner: Dispatcher.DispatchHandler

  constructor(attempt: Attempt, inner: Dispatcher.DispatchHandler) {
    this.#attempt = attempt
    this.#inner = inner
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#inner.onRequestStart?.(controller, context)
    this.#attempt.start(controller) // last, so that nothing but undici's own write comes after it
  }

  onResponseStart(...args: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>): void {
    this.#inner.onResponseStart?.(...args)
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#inner.onResponseData?.(controller, chunk)
  }

  onResponseEnd(...args: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseEnd']>>): void {
    this.#attempt.release()
    this.#inner.onResponseEnd?.(...args)
  }

  onResponseError(controller: Dispatcher.DispatchController, error: Error): void {
    this.#inner.onResponseError?.(controller, error)
  }
}
