import { createParser } from 'eventsource-parser'
import type { RateLimitStats } from '../../../monitoring.js'
import type { FeedEvents } from '../wire.js'
import { keep, kept } from './keeping.js'

const KEY_NAME = 'headgate-key'
const MIN_RETRY_MS = 300
const MAX_RETRY_MS = 5_000
/** Figures come every 1.5 s: a line that is still for so long is dead. */
const SILENCE_MS = 12_000

type Handlers = { [K in keyof FeedEvents]: (data: FeedEvents[K]) => void }

export interface LinkOptions {
  readonly handlers: Handlers
  readonly onState: (state: 'live' | 'lost' | 'locked') => void
}

/**
 * The page's line to its gateway. `EventSource` can send no key, so the stream is read by `fetch`. The key is the session's:
 * another tab, or the next day, asks again.
 */
export class ServerLink {
  #retryMs = MIN_RETRY_MS

  constructor(private readonly options: LinkOptions) {}

  set key(key: string) {
    keep('session', KEY_NAME, key)
  }

  /** Stays connected until it is refused for want of a key. */
  async run(): Promise<void> {
    for (;;) {
      if (!(await this.#stream())) {
        keep('session', KEY_NAME, undefined)
        this.options.onState('locked')
        return
      }
      this.options.onState('lost')
      await new Promise((resolve) => setTimeout(resolve, this.#retryMs))
      this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2)
    }
  }

  async rates(): Promise<RateLimitStats | undefined> {
    try {
      const response = await fetch('/api/v1/monitoring/rate-limit-stats?window_minutes=60', { headers: headers() })
      return response.ok ? ((await response.json()) as RateLimitStats) : undefined
    } catch {
      return undefined
    }
  }

  /** Reads until the line breaks; false when a key is wanted. */
  async #stream(): Promise<boolean> {
    const { handlers, onState } = this.options
    const parser = createParser({
      onEvent: ({ event, data }) => handlers[event as keyof FeedEvents]?.(JSON.parse(data) as never),
    })
    const controller = new AbortController()
    let watchdog: ReturnType<typeof setTimeout> | undefined
    const alive = () => {
      clearTimeout(watchdog)
      watchdog = setTimeout(() => controller.abort(), SILENCE_MS)
    }
    try {
      alive()
      const response = await fetch('/events', { headers: headers(), signal: controller.signal })
      if (response.status === 401) return false
      if (!response.ok || !response.body) return true
      onState('live')
      this.#retryMs = MIN_RETRY_MS
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
      for (let next = await reader.read(); !next.done; next = await reader.read()) {
        alive()
        parser.feed(next.value)
      }
    } catch {
      // Broken, or silent for too long: the next try says more.
    } finally {
      clearTimeout(watchdog)
      controller.abort()
    }
    return true
  }
}

function headers(): Record<string, string> {
  const key = kept('session', KEY_NAME)
  return key ? { authorization: `Bearer ${key}` } : {}
}
