import type { AlertNotice, WebhookOptions } from '../../alerts.js'
import type { Clock } from '../../clock.js'

const TIMEOUT_MS = 5_000
/** Some 5 minutes: a receiver that is being deployed misses nothing. */
const MAX_ATTEMPTS = 11
const FIRST_RETRY_MS = 1_000
const MAX_RETRY_MS = 60_000
const MAX_WAITING = 100

export interface WebhookReport {
  /** The notice was taken, or given up: nothing more comes of it. */
  readonly settled: (notice: AlertNotice) => void
  /** Why a notice was given up. */
  readonly warn: (details: object, message: string) => void
}

/**
 * Posts notices one after the other: bounded in number, attempts and time. Of one alert only the newest notice is worth
 * sending: it takes the place of one that waits or is being retried, so that the last word is how it stands.
 */
export class Webhook {
  readonly #closing = new AbortController()
  /** What is yet to be taken, by the alert's key. */
  readonly #newest = new Map<string, AlertNotice>()
  #isSending = false

  constructor(
    private readonly options: WebhookOptions,
    private readonly clock: Clock,
    private readonly report: WebhookReport,
  ) {}

  post(notice: AlertNotice): void {
    if (this.#newest.size >= MAX_WAITING && !this.#newest.has(notice.key)) {
      this.report.warn({ rule: notice.rule }, `alert not sent: ${MAX_WAITING} wait for the webhook already`)
      this.report.settled(notice)
      return
    }
    this.#newest.set(notice.key, notice)
    if (!this.#isSending) void this.#sendAll()
  }

  /** Those that wait or are being retried are another's to send now. */
  forget(isTheirs: (notice: AlertNotice) => boolean): void {
    for (const [key, notice] of this.#newest) if (isTheirs(notice)) this.#newest.delete(key)
  }

  close(): void {
    this.#closing.abort()
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true
    for (const [key] of this.#newest) await this.#send(key)
    this.#isSending = false
  }

  /** Until the newest notice of this alert was taken, given up or forgotten. */
  async #send(key: string): Promise<void> {
    let attempt = 0
    let last: AlertNotice | undefined
    for (let notice = this.#newest.get(key); notice; notice = this.#newest.get(key)) {
      if (this.#closing.signal.aborted) return
      attempt = notice === last ? attempt + 1 : 1
      last = notice
      const problem = await this.#attempt(notice)
      const isFinal = !problem?.retryable || attempt === MAX_ATTEMPTS
      if (isFinal) this.#settle(notice, problem?.reason)
      else await this.#pause(Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (attempt - 1)))
    }
  }

  #settle(notice: AlertNotice, failure: string | undefined): void {
    if (this.#closing.signal.aborted || !this.#newest.has(notice.key)) return
    if (this.#newest.get(notice.key) === notice) this.#newest.delete(notice.key)
    if (failure !== undefined)
      this.report.warn({ rule: notice.rule, reason: failure }, 'alert not sent: the webhook failed')
    this.report.settled(notice)
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
