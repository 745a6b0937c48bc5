import { createHash } from 'node:crypto'
import { type Answer, errorAnswer, HUNG_UP } from '../../http/openai-error.js'
import { Recording, type RecordingBounds } from './recording.js'

const TTL_MS = 3_600_000
const MAX_ENTRIES = 10_000
const MAX_CHARS = 32 * 1024 * 1024
/** A longer answer is shared while it comes, and not kept. */
const MAX_ANSWER_CHARS = 4 * 1024 * 1024

export interface RepeatsOptions {
  /** Monotonic ms. */
  readonly now: () => number
  readonly ttlMs?: number
  readonly maxChars?: number
}

export interface Repeatable {
  /** Of the caller, its key, and the endpoint. */
  readonly id: string
  /** Of the body: another one under the same key is a mistake. */
  readonly digest: string
  readonly signal: AbortSignal
  /** Makes the request; the signal fires when none of its callers is left. */
  readonly make: (signal: AbortSignal) => Promise<Answer>
}

/** One text of any length for several of them, none of which can be told from it. */
export function digestOf(...texts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(texts)).digest('base64')
}

/** Makes a repeated request one request: its answer is shared while it comes, and kept for a while once complete. */
export class Repeats {
  /** As many as the gate lets in. */
  readonly #running = new Map<string, SharedCall>()
  /** The oldest first. */
  readonly #kept = new Map<string, KeptCall>()
  readonly #options: Required<RepeatsOptions>
  readonly #bounds: RecordingBounds
  #chars = 0

  constructor(options: RepeatsOptions) {
    this.#options = { ttlMs: TTL_MS, maxChars: MAX_CHARS, ...options }
    const { maxChars } = this.#options
    this.#bounds = { maxChars: Math.min(MAX_ANSWER_CHARS, maxChars), maxCharsOfAll: maxChars, kept: { chars: 0 } }
  }

  answer({ id, digest, signal, make }: Repeatable): Promise<Answer> {
    this.#forget()
    const known = this.#running.get(id) ?? this.#kept.get(id)?.call
    if (known && known.digest !== digest) {
      const message = 'idempotency-key: it came with another request before'
      const details = { code: 'idempotency_key_reused', param: 'idempotency-key' }
      return Promise.resolve(errorAnswer(422, message, details))
    }
    // One that its last caller just left is nobody's any more.
    if (known && !known.abandoned) return known.join(signal, { repeated: true })
    const call = new SharedCall(digest, make, this.#bounds)
    this.#add(id, call)
    return call.join(signal, {})
  }

  #add(id: string, call: SharedCall): void {
    this.#running.set(id, call)
    void call.over.then((complete) => {
      // Another took its place where all its callers had left it.
      if (this.#running.get(id) !== call) return
      this.#running.delete(id)
      if (!complete || call.chars > this.#bounds.maxChars) return
      this.#kept.set(id, { call, sinceMs: this.#options.now() })
      this.#chars += call.chars
      this.#forget()
    })
  }

  /** The oldest go first. */
  #forget(): void {
    const { now, ttlMs, maxChars } = this.#options
    for (const [id, { call, sinceMs }] of this.#kept) {
      const tooMany = this.#chars > maxChars || this.#kept.size > MAX_ENTRIES
      if (!tooMany && now() - sinceMs < ttlMs) return
      this.#kept.delete(id)
      this.#chars -= call.chars
    }
  }
}

interface KeptCall {
  readonly call: SharedCall
  readonly sinceMs: number
}

/** What comes too late to a stream of which the beginning is gone. */
const TOO_LONG = errorAnswer(
  409,
  'idempotency-key: its request is running still, and has answered more than is kept for a repeat',
  { code: 'idempotency_key_in_use', param: 'idempotency-key' },
)

/** One request with any number of callers, who may come and go; when the last one goes before its end, it is cancelled. */
class SharedCall {
  /** Resolves when the request has ended: true for an answer that is worth keeping. */
  readonly over: Promise<boolean>
  /** Known when it is over. */
  chars = 0
  readonly #answer: Promise<{ answer: Answer; recording: Recording | undefined }>
  readonly #controller = new AbortController()
  #callers = 0
  #ended = false

  constructor(
    readonly digest: string,
    make: Repeatable['make'],
    bounds: RecordingBounds,
  ) {
    this.#answer = make(this.#controller.signal).then((answer) => {
      const { body } = answer
      return { answer, recording: typeof body === 'string' ? undefined : new Recording(body.texts, bounds) }
    })
    this.over = this.#watch()
      .catch(() => false)
      .finally(() => {
        this.#ended = true
      })
  }

  get abandoned(): boolean {
    return this.#controller.signal.aborted
  }

  async join(signal: AbortSignal, log: object): Promise<Answer> {
    this.#callers++
    let here = true
    const leave = () => {
      if (here) this.#callers--
      here = false
      // There is nothing left to cancel of one that has ended, and its answer is for who comes next.
      if (this.#callers === 0 && !this.#ended) this.#controller.abort()
    }
    signal.addEventListener('abort', leave, { once: true })
    try {
      const { answer, recording } = await this.#answer
      if (signal.aborted) return HUNG_UP
      const mine = { ...answer, log: { ...answer.log, ...log } }
      if (!recording || typeof answer.body === 'string') return mine
      if (!recording.isWhole) {
        leave()
        return TOO_LONG
      }
      const reading = recording.read()
      const cancel = () => {
        reading.leave()
        leave()
      }
      return { ...mine, body: { ...answer.body, texts: reading.texts, cancel } }
    } finally {
      // Who leaves a stream that has begun tells by `cancel`.
      signal.removeEventListener('abort', leave)
    }
  }

  /** A failure, or a message in place of an answer, is to be tried again. */
  async #watch(): Promise<boolean> {
    const { answer, recording } = await this.#answer
    const { body, log } = answer
    if (typeof body === 'string') {
      this.chars = body.length
      return log.outcome === 'completed'
    }
    try {
      const { outcome } = await body.ended
      // What is left is in memory already, whoever reads it.
      this.chars = (await recording?.rest()) ?? 0
      return outcome === 'completed' && recording?.isWhole === true
    } finally {
      recording?.release()
    }
  }
}
