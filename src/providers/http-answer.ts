// What comes back on a call: whole, or bit by bit to who takes it.
import { StringDecoder } from 'node:string_decoder'
import { decoded, isEncoded } from './content-encoding.js'
import type { ProviderResponse, ResponseHead } from './provider.js'
import { parseBody } from './wire.js'

/** Read on while the sink is busy, so that the end of an answer frees its socket although a reader is slow. */
const MAX_AHEAD_CHARS = 64 * 1024
const BYTE_ORDER_MARK = 0xfeff

/** Where a streamed answer goes. Upstream is read on when `write` is through: what it waits for holds the provider up. */
export interface StreamSink {
  /** Called before the first `write`, once. */
  open(head: ResponseHead): void
  /** Undefined where it takes more at once. What it throws, now or later, ends the call, and its socket. */
  write(text: string): Promise<void> | undefined
  /** The answer is over, after this text. */
  end(text: string): void
}

/** How the answer's source is held up, and cut. */
export interface Source {
  pause(): void
  resume(): void
  abort(reason: Error): void
}

/** Takes one answer as its bytes come. What it throws ends the call. */
export interface AnswerReader {
  start(source: Source, head: ResponseHead): void
  take(bytes: Buffer): void
  /** The answer is whole. Undefined body where it went to a sink. */
  end(): ProviderResponse
  /** There will be no more. */
  stop(): void
}

/** An event stream of a 2xx goes to the sink, if there is one; anything else is gathered. */
export function answerReader(sink: StreamSink | undefined): AnswerReader {
  return sink ? new EitherReader(sink) : new WholeReader()
}

class WholeReader implements AnswerReader {
  #head: ResponseHead | undefined
  readonly #bytes: Buffer[] = []

  start(_: Source, head: ResponseHead): void {
    this.#head = head
  }

  take(bytes: Buffer): void {
    this.#bytes.push(bytes)
  }

  end(): ProviderResponse {
    const [first] = this.#bytes
    const all = this.#bytes.length > 1 ? Buffer.concat(this.#bytes) : first
    const { status, headers } = this.#head!
    const plain = all && isEncoded(this.#head!) ? decoded(all, this.#head!) : all
    const text = withoutMark(plain?.toString() ?? '')
    return { status, headers, body: parseBody(text), text }
  }

  stop(): void {}
}

/** Which of the two it is, the head tells. */
class EitherReader implements AnswerReader {
  #reader: AnswerReader | undefined

  constructor(private readonly sink: StreamSink) {}

  start(source: Source, head: ResponseHead): void {
    if (!isEventStream(head)) this.#reader = new WholeReader()
    else this.#reader = isEncoded(head) ? new EncodedStreamReader(this.sink) : new StreamReader(this.sink)
    this.#reader.start(source, head)
  }

  take(bytes: Buffer): void {
    this.#reader!.take(bytes)
  }

  end(): ProviderResponse {
    return this.#reader!.end()
  }

  stop(): void {
    this.#reader?.stop()
  }
}

/** A compressed stream, which nobody asked for, goes to the sink when it has come: late, and whole. */
class EncodedStreamReader implements AnswerReader {
  #head: ResponseHead | undefined
  readonly #bytes: Buffer[] = []

  constructor(private readonly sink: StreamSink) {}

  start(_: Source, head: ResponseHead): void {
    this.#head = head
    this.sink.open(head)
  }

  take(bytes: Buffer): void {
    this.#bytes.push(bytes)
  }

  end(): ProviderResponse {
    const { status, headers } = this.#head!
    this.sink.end(withoutMark(decoded(Buffer.concat(this.#bytes), this.#head!).toString()))
    return { status, headers, body: undefined }
  }

  stop(): void {}
}

class StreamReader implements AnswerReader {
  readonly #decoder = new StringDecoder('utf8')
  #source: Source | undefined
  #head: ResponseHead | undefined
  #begun = false
  #over = false
  /** The sink has not taken yet what it was given last. */
  #busy = false
  #ahead = ''

  constructor(private readonly sink: StreamSink) {}

  start(source: Source, head: ResponseHead): void {
    this.#source = source
    this.#head = head
    this.sink.open(head)
  }

  take(bytes: Buffer): void {
    let text = this.#decoder.write(bytes)
    // All of it may be the first part of a character.
    if (text === '') return
    if (!this.#begun) text = withoutMark(text)
    this.#begun = true
    if (!this.#busy) this.#give(text)
    else {
      this.#ahead += text
      if (this.#ahead.length > MAX_AHEAD_CHARS) this.#source!.pause()
    }
  }

  /** Waits for the sink no longer: the socket is free, so nothing is held up by it, and what is left is little. */
  end(): ProviderResponse {
    this.#over = true
    this.sink.end(this.#ahead + this.#decoder.end())
    const { status, headers } = this.#head!
    return { status, headers, body: undefined }
  }

  stop(): void {
    this.#over = true
  }

  #give(text: string): void {
    const taken = this.sink.write(text)
    if (!taken) return
    this.#busy = true
    taken.then(() => this.#goOn()).catch((error) => this.#source!.abort(error))
  }

  #goOn(): void {
    this.#busy = false
    if (this.#over) return
    const ahead = this.#ahead
    this.#ahead = ''
    if (ahead !== '') this.#give(ahead)
    if (!this.#busy) this.#source!.resume()
  }
}

function isEventStream({ status, headers }: ResponseHead): boolean {
  return status >= 200 && status < 300 && /^text\/event-stream\b/i.test(String(headers['content-type'] ?? ''))
}

function withoutMark(text: string): string {
  return text.charCodeAt(0) === BYTE_ORDER_MARK ? text.slice(1) : text
}
