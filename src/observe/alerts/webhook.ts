import type { AlertNotice, WebhookOptions } from '../../alerts.js'
import type { Clock } from '../../clock.js'

const TIMEOUT_MS = 5_000
const MAX_ATTEMPTS = 5
const FIRST_RETRY_MS = 1_000
const MAX_WAITING = 100

/** Posts notices one after the other: bounded in number, attempts and time. */
export class Webhook {
  readonly #closing = new AbortController()
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0

  /** `warn` gets why a notice was given up. */
  constructor(
    private readonly options: WebhookOptions,
    private readonly clock: Clock,
    private readonly warn: (details: object, message: string) => void,
  ) {}

  /** Resolves when it was taken, or given up. Never rejects. */
  post(notice: AlertNotice): Promise<void> {
    if (this.#waiting >= MAX_WAITING) {
      this.warn({ rule: notice.rule }, `alert not sent: ${MAX_WAITING} wait for the webhook already`)
      return Promise.resolve()
    }
    this.#waiting++
    const sent = this.#last.then(() => this.#send(notice))
    this.#last = sent.finally(() => this.#waiting--)
    return sent
  }

  close(): void {
    this.#closing.abort()
  }

  async #send(notice: AlertNotice): Promise<void> {
    const { signal } = this.#closing
    for (let attempt = 1; !signal.aborted; attempt++) {
      const problem = await this.#attempt(notice)
      if (problem === undefined) return
      if (attempt === MAX_ATTEMPTS || !problem.retryable) {
        if (!signal.aborted)
          this.warn({ rule: notice.rule, reason: problem.reason }, 'alert not sent: the webhook failed')
        return
      }
      await this.#pause(FIRST_RETRY_MS * 2 ** (attempt - 1))
    }
  }

  async #attempt(notice: AlertNotice): Promise<{ retryable: boolean; reason: string } | undefined> {
    const { url, headers } = this.options
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(notice),
        redirect: 'error',
        signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
      await response.body?.cancel()
      if (response.ok) return undefined
      const retryable = response.status >= 500 || response.status === 429 || response.status === 408
      return { retryable, reason: `HTTP ${response.status}` }
    } catch (error) {
      // The cause tells; the message may hold the URL, and that a secret.
      const { code, name } = (error as { cause?: { code?: string; name?: string } }).cause ?? {}
      return { retryable: true, reason: code ?? name ?? (error as Error).name }
    }
  }

  #pause(delayMs: number): Promise<void> {
    const { signal } = this.#closing
    return new Promise((resolve) => {
      const end = () => {
        this.clock.clearTimeout(timer)
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = this.clock.setTimeout(end, delayMs)
      signal.addEventListener('abort', end, { once: true })
    })
  }
}
