import type { StreamEvent } from '../providers/sse.js'
import type { StreamTarget } from './event-stream.js'

/** A streamed answer that is longer is passed on, and not remembered. */
const MAX_CHARS = 1024 * 1024
const EVENT_CHARS = 64

/** Remembers a streamed answer on its way to its reader, as long as it is short enough. */
export class Tape implements Pick<StreamTarget, 'put' | 'room'> {
  #events: StreamEvent[] | undefined = []
  #chars = 0

  /** `eager`: others wait for the whole, so as long as it is remembered a slow reader holds nobody up. */
  constructor(
    private readonly target: StreamTarget,
    private readonly eager: boolean,
  ) {}

  /** All that came; undefined when it was too much. */
  get events(): readonly StreamEvent[] | undefined {
    return this.#events
  }

  put(event: StreamEvent): void {
    this.#chars += EVENT_CHARS + (event.data?.length ?? 0)
    if (this.#chars > MAX_CHARS) this.#events = undefined
    this.#events?.push(event)
    this.target.put(event)
  }

  room(): Promise<void> {
    return this.eager && this.#events ? Promise.resolve() : this.target.room()
  }
}
