import { createHash } from 'node:crypto'
import { type Answer, type AnswerTexts, errorAnswer, HUNG_UP } from '../../http/openai-error.js'

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
  /** Oldest first. */
  readonly #calls = new Map<string, SharedCall>()
  readonly #options: Required<RepeatsOptions>
  #chars = 0

  constructor(options: RepeatsOptions) {
    this.#options = { ttlMs: TTL_MS, maxChars: MAX_CHARS, ...options }
  }

  answer({ id, digest, signal, make }: Repeatable): Promise<Answer> {
    this.#forget()
    const known = this.#calls.get(id)
    if (known && known.digest !== digest) {
      const message = 'idempotency-key: it came with another request before'
      const details = { code: 'idempotency_key_reused', param: 'idempotency-key' }
      return Promise.resolve(errorAnswer(422, message, details))
    }
    // One that its last caller just left is nobody's any more.
    if (known && !known.abandoned) return known.join(signal, { repeated: true })
    const call = new SharedCall(digest, make)
    this.#add(id, call)
    return call.join(signal, {})
  }

  #add(id: string, call: SharedCall): void {
    this.#calls.set(id, call)
    void call.over.then((complete) => {
      if (this.#calls.get(id) !== call) return
      if (!complete || call.chars > MAX_ANSWER_CHARS) {
        this.#calls.delete(id)
        return
      }
      // It counts from now on, as the youngest.
      this.#calls.delete(id)
      this.#calls.set(id, call)
      call.keptSinceMs = this.#options.now()
      this.#chars += call.chars
      this.#forget()
    })
  }

  /** The oldest go first, and none that is still on its way. */
  #forget(): void {
    const { now, ttlMs, maxChars } = this.#options
    for (const [id, call] of this.#calls) {
      if (call.keptSinceMs === undefined) continue
      const tooMany = this.#chars > maxChars || this.#calls.size > MAX_ENTRIES
      if (!tooMany && now() - call.keptSinceMs < ttlMs) return
      this.#calls.delete(id)
      this.#chars -= call.chars
    }
  }
}

/** One request with any number of callers, who may come and go; when the last one goes before its end, it is cancelled. */
class SharedCall {
  /** Resolves when the request has ended: true for an answer that is worth keeping. */
  readonly over: Promise<boolean>
  /** Known when it is over. */
  chars = 0
  keptSinceMs: number | undefined
  readonly #answer: Promise<{ answer: Answer; recording: Recording | undefined }>
  readonly #controller = new AbortController()
  #callers = 0

  constructor(
    readonly digest: string,
    make: Repeatable['make'],
  ) {
    this.#answer = make(this.#controller.signal).then((answer) => {
      return { answer, recording: typeof answer.body === 'string' ? undefined : new Recording(answer.body.texts) }
    })
    this.over = this.#watch().catch(() => false)
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
      if (this.#callers === 0) this.#controller.abort()
    }
    signal.addEventListener('abort', leave, { once: true })
    try {
      const { answer, recording } = await this.#answer
      if (signal.aborted) return HUNG_UP
      const mine = { ...answer, log: { ...answer.log, ...log } }
      if (!recording || typeof answer.body === 'string') return mine
      return { ...mine, body: { ...answer.body, texts: recording.read(), cancel: leave } }
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
    const { outcome } = await body.ended
    // What is left is in memory already, whoever reads it.
    this.chars = (await recording?.rest()) ?? 0
    return outcome === 'completed'
  }
}

/** A stream's texts for several readers. The fastest sets the pace, and all of them get everything. */
class Recording {
  #chars = 0
  readonly #texts: string[] = []
  #ended = false
  #pulling: Promise<void> | undefined

  constructor(private readonly source: AnswerTexts['texts']) {}

  async *read(): AsyncGenerator<string, void, undefined> {
    for (let index = 0; ; index++) {
      while (index >= this.#texts.length && !this.#ended) await this.#pull()
      const text = this.#texts[index]
      if (text === undefined) return
      yield text
    }
  }

  /** Reads on to the end; resolves with the length of all. */
  async rest(): Promise<number> {
    while (!this.#ended) await this.#pull()
    return this.#chars
  }

  #pull(): Promise<void> {
    this.#pulling ??= this.#advance().finally(() => {
      this.#pulling = undefined
    })
    return this.#pulling
  }

  async #advance(): Promise<void> {
    const { value, done } = await this.source.next()
    if (done) this.#ended = true
    else {
      this.#texts.push(value)
      this.#chars += value.length
    }
  }
}
