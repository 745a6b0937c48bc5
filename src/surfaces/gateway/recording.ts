import type { AnswerTexts } from '../../http/openai-error.js'

/** Of one stream's texts, and of all streams that are on their way. */
export interface RecordingBounds {
  readonly maxChars: number
  readonly maxCharsOfAll: number
  /** Shared by all: what they keep now. */
  readonly kept: { chars: number }
}

/** Where a reader is; from the beginning. */
interface Cursor {
  next: number
}

export interface Reading {
  readonly texts: AsyncGenerator<string, void, undefined>
  /** For who won't read on. Twice is once. */
  readonly leave: () => void
}

/**
 * A stream's texts for several readers, who all get everything. The fastest sets the pace.
 *
 * As long as there is room for it, all of it is kept, for who comes later. Beyond that only what its slowest reader has not
 * had yet: nobody else can join then, and who is ahead waits for who is `maxChars` behind.
 */
export class Recording {
  readonly #texts: string[] = []
  /** Texts that are gone. */
  #dropped = 0
  #keptChars = 0
  #chars = 0
  #isWhole = true
  #ended = false
  #released = false
  #pulling: Promise<void> | undefined
  #onRoom: (() => void) | undefined
  readonly #cursors = new Set<Cursor>()

  constructor(
    private readonly source: AnswerTexts['texts'],
    private readonly bounds: RecordingBounds,
  ) {}

  /** Whether it can be read from its beginning. */
  get isWhole(): boolean {
    return this.#isWhole
  }

  read(): Reading {
    const cursor = { next: 0 }
    this.#cursors.add(cursor)
    const leave = () => {
      if (this.#cursors.delete(cursor)) this.#trim()
    }
    return { texts: this.#readBy(cursor, leave), leave }
  }

  /** Reads on to the end while all of it is kept; resolves with the length. What is kept from then on is not of those on their way. */
  async rest(): Promise<number> {
    while (!this.#ended && this.#isWhole) await this.#pull()
    return this.#chars
  }

  /** It counts no longer among those that are on their way. */
  release(): void {
    if (!this.#released) this.bounds.kept.chars -= this.#keptChars
    this.#released = true
  }

  async *#readBy(cursor: Cursor, leave: () => void): Reading['texts'] {
    try {
      for (;;) {
        while (cursor.next >= this.#dropped + this.#texts.length && !this.#ended) await this.#pull()
        const text = this.#texts[cursor.next - this.#dropped]
        if (text === undefined) return
        cursor.next++
        if (!this.#isWhole) this.#trim()
        yield text
      }
    } finally {
      leave()
    }
  }

  #pull(): Promise<void> {
    this.#pulling ??= this.#advance().finally(() => {
      this.#pulling = undefined
    })
    return this.#pulling
  }

  async #advance(): Promise<void> {
    while (!this.#isWhole && this.#keptChars > this.bounds.maxChars) {
      await new Promise<void>((resolve) => {
        this.#onRoom = resolve
      })
    }
    const { value, done } = await this.source.next()
    if (done) {
      this.#ended = true
      return
    }
    this.#texts.push(value)
    this.#chars += value.length
    this.#keep(value.length)
    const { maxChars, maxCharsOfAll, kept } = this.bounds
    if (this.#chars > maxChars || kept.chars > maxCharsOfAll) this.#isWhole = false
    if (!this.#isWhole) this.#trim()
  }

  /** Once it is not whole any more, what all readers have had is nobody's. */
  #trim(): void {
    if (this.#isWhole) return
    let slowest = this.#dropped + this.#texts.length
    for (const { next } of this.#cursors) slowest = Math.min(slowest, next)
    const had = this.#texts.splice(0, slowest - this.#dropped)
    this.#dropped += had.length
    this.#keep(-had.reduce((sum, { length }) => sum + length, 0))
    this.#onRoom?.()
  }

  #keep(chars: number): void {
    this.#keptChars += chars
    if (!this.#released) this.bounds.kept.chars += chars
  }
}
