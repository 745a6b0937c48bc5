/** What waits for one viewer; beyond it all of it is dropped, and the viewer gets a new snapshot. */
const MAX_WAITING_CHARS = 512 * 1024

/** One page's stream of server-sent events. Whoever is too slow misses batches, never the gateway its time or memory. */
export class Viewer {
  readonly stream: ReadableStream<Uint8Array>
  #waiting: string[] = []
  #chars = 0
  #missed = 0
  #wake: (() => void) | undefined
  #ended = false

  /** `snapshot` makes the event that a viewer begins with, first and after it missed something. */
  constructor(snapshot: (missed: number) => string, onLeave: () => void) {
    const encoder = new TextEncoder()
    this.#waiting.push(snapshot(0))
    this.stream = new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          if (this.#waiting.length === 0 && this.#missed === 0 && !this.#ended) {
            await new Promise<void>((resolve) => {
              this.#wake = resolve
            })
          }
          if (this.#missed > 0) {
            this.#waiting.unshift(snapshot(this.#missed))
            this.#missed = 0
          }
          const text = this.#waiting.join('')
          this.#waiting = []
          this.#chars = 0
          if (text !== '') controller.enqueue(encoder.encode(text))
          if (this.#ended) controller.close()
        },
        cancel: () => {
          this.#wake?.()
          onLeave()
        },
      },
      { highWaterMark: 0 },
    )
  }

  put(event: string): void {
    // What comes after the gap is in the snapshot that closes it.
    if (this.#missed > 0) this.#missed++
    else if (this.#chars + event.length > MAX_WAITING_CHARS) {
      this.#missed = this.#waiting.length + 1
      this.#waiting = []
      this.#chars = 0
    } else {
      this.#waiting.push(event)
      this.#chars += event.length
    }
    this.#wake?.()
  }

  end(): void {
    this.#ended = true
    this.#wake?.()
  }
}
