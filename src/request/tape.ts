import type { StreamEvent } from '../providers/sse.js'
import type { StreamTarget } from './event-stream.js'

/** A streamed answer that is longer is passed on, and not remembered. */
const MAX_CHARS = 1024 * 1024
const EVENT_CHARS = 64

/** Somebody else who gets the answer as it comes. Takes events at once, whatever becomes of them; false: no more. */
export type Listener = (event: StreamEvent, httpStatus: number) => boolean

/** Remembers a streamed answer on its way to its reader, as long as it is short enough, and lets others listen. */
export class Tape implements Pick<StreamTarget, 'put' | 'room'> {
  #events: StreamEvent[] | undefined = []
  #chars = 0
  #httpStatus = 200
  #target: StreamTarget | undefined
  readonly #listeners = new Set<Listener>()

  /** `eager`: others may listen, so as long as it is remembered a slow reader holds nobody up. */
  constructor(
    target: StreamTarget,
    private readonly eager: boolean,
  ) {
    this.#target = target
  }

  /** All that came; undefined when it was too much. */
  get events(): readonly StreamEvent[] | undefined {
    return this.#events
  }

  /** What came so far, and from here on what comes. There is nothing to hear of one that is not remembered. */
  listen(listener: Listener): void {
    for (const event of this.#events ?? []) if (!listener(event, this.#httpStatus)) return
    if (this.#events) this.#listeners.add(listener)
  }

  /** Its reader is gone: it goes on for those who listen. */
  detach(): void {
    this.#target = undefined
  }

  open(httpStatus: number): void {
    this.#httpStatus = httpStatus
  }

  put(event: StreamEvent): void {
    this.#chars += EVENT_CHARS + (event.data?.length ?? 0)
    if (this.#chars > MAX_CHARS) this.#events = undefined
    this.#events?.push(event)
    this.#target?.put(event)
    for (const listener of this.#listeners) if (!listener(event, this.#httpStatus)) this.#listeners.delete(listener)
  }

  room(): Promise<void> | undefined {
    return (this.eager && this.#events) || !this.#target ? undefined : this.#target.room()
  }
}
