import type { InspectionEvent } from 'xstate'
import { HeadgateError } from '../errors.js'
import { notice, type StatelyEvent, statelyEventOf, textOf } from './stately.js'

/** Requests that are watched at once; further ones are left alone, whole. */
const MAX_WATCHED = 200
/** Events kept for who comes later, and requests whose definition and state are kept with them. */
const MAX_EVENTS = 1_000
const MAX_SESSIONS = 400
const MAX_VIEWERS = 16
/** What happens is told so much later at most, all of it at once: about as soon as a screen can show it. */
const TELL_EVERY_MS = 20
/** … or sooner, so that little is held back. */
const MAX_UNTOLD = 1_000

export interface InspectorOptions {
  /** The share of requests that is shown, 0 to 1; a viewer may ask for less. Default 1. */
  readonly sample?: number
}

/**
 * Takes one message in Stately's wire format; false where it has no room for it now. It is called many times in a row,
 * then not for a while.
 */
export type InspectorSink = (message: string) => boolean

/** What an inspector needs of a gate. */
interface Inspectable {
  inspect(
    watch: (requestId: string) => { next(event: InspectionEvent): void; complete(): void } | undefined,
  ): () => void
}

interface Viewer {
  readonly sink: InspectorSink
  readonly sample: number
  missed: number
}

interface Session {
  /** With the state of the request as of the oldest event that is kept. */
  actor: StatelyEvent
  /** Where the request's id lies between 0 and 1. */
  readonly place: number
}

/** No more of an event than is needed: a thousand of them outlive the moment. */
interface Kept {
  readonly sessionId: string
  /** The state that it left its request in. */
  readonly snapshot: object | undefined
  readonly place: number
  /** Written once for all viewers. */
  readonly text: string
}

/**
 * Shows requests' machines to viewers that speak Stately's wire format, without payloads. It watches the gate while there
 * is a viewer, and only then. Who comes later gets what is kept first: the machines' definitions, and the last events.
 */
export class Inspector {
  readonly #viewers = new Set<Viewer>()
  readonly #sessions = new Map<string, Session>()
  #kept: Kept[] = []
  /** Not told to the viewers yet. */
  #untold: Kept[] = []
  #timer: NodeJS.Timeout | undefined
  #watched = 0
  #unwatch: (() => void) | undefined
  readonly #sample: number

  constructor(
    private readonly gate: Inspectable,
    { sample = 1 }: InspectorOptions = {},
  ) {
    this.#sample = shareOf(sample)
  }

  /** Requests that are watched now. */
  get watched(): number {
    return this.#watched
  }

  /** Adds a viewer; returns the function that removes it. Throws QUEUE_FULL beyond 16 of them. */
  connect(sink: InspectorSink, sample = this.#sample): () => void {
    if (this.#viewers.size >= MAX_VIEWERS) {
      throw new HeadgateError('QUEUE_FULL', `the inspector has ${MAX_VIEWERS} viewers already`, { retryable: true })
    }
    // What it will be told is not to come twice.
    this.flush()
    const viewer: Viewer = { sink, sample: Math.min(shareOf(sample), this.#sample), missed: 0 }
    this.#replay(viewer)
    this.#viewers.add(viewer)
    this.#unwatch ??= this.gate.inspect((id) => this.#observe(id))
    return () => this.#disconnect(viewer)
  }

  /** Tells the viewers now what they would be told in a moment. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const told = this.#untold
    this.#untold = []
    for (const viewer of this.#viewers) {
      const isBehind = viewer.missed > 0
      for (const { place, text } of told) if (place < viewer.sample) this.#tell(viewer, text)
      // Once a time, not for each event: most of a stall there is no room.
      if (isBehind) this.#catchUp(viewer)
    }
  }

  #disconnect(viewer: Viewer): void {
    this.#viewers.delete(viewer)
    if (this.#viewers.size > 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#untold = []
    this.#unwatch?.()
    this.#unwatch = undefined
    this.#sessions.clear()
    this.#kept = []
    this.#watched = 0
  }

  #observe(requestId: string) {
    const place = placeOf(requestId)
    if (this.#watched >= MAX_WATCHED || ![...this.#viewers].some(({ sample }) => place < sample)) return undefined
    this.#watched++
    return {
      next: (inspection: InspectionEvent) => {
        const event = statelyEventOf(inspection, Date.now())
        // A request may outlive the last viewer's look by an event.
        if (event && this.#viewers.size > 0) this.#take(event, place)
      },
      complete: () => {
        this.#watched--
      },
    }
  }

  #take(event: StatelyEvent, place: number): void {
    if (event.type === '@xstate.actor') this.#sessions.set(event.sessionId, { actor: event, place })
    const snapshot = event.type === '@xstate.snapshot' ? event.snapshot : undefined
    const kept = { sessionId: event.sessionId, snapshot, place, text: textOf(event) }
    if (event.type !== '@xstate.actor') this.#kept.push(kept)
    if (this.#kept.length > MAX_EVENTS * 1.25) for (const old of this.#kept.splice(0, MAX_EVENTS / 4)) this.#fold(old)
    if (this.#sessions.size > MAX_SESSIONS) this.#forget()
    if (this.#untold.push(kept) >= MAX_UNTOLD) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), TELL_EVERY_MS).unref()
  }

  /** What leaves the buffer lives on in its session's state. */
  #fold({ sessionId, snapshot }: Kept): void {
    const session = this.#sessions.get(sessionId)
    if (session && snapshot) session.actor = { ...session.actor, snapshot } as StatelyEvent
  }

  /** The oldest sessions go, with their events. */
  #forget(): void {
    for (const id of this.#sessions.keys()) {
      if (this.#sessions.size <= MAX_SESSIONS * 0.75) break
      this.#sessions.delete(id)
    }
    this.#kept = this.#kept.filter(({ sessionId }) => this.#sessions.has(sessionId))
  }

  /** Whoever has no room misses it. */
  #tell(viewer: Viewer, text: string): void {
    if (viewer.missed > 0 || !viewer.sink(text)) viewer.missed++
  }

  /** Tells who missed something of it, if there is room again; then it sees what is kept once more. */
  #catchUp(viewer: Viewer): void {
    const told = notice('headgate-inspector', Date.now(), 'MISSED', { events: viewer.missed })
    if (!told.every((each) => viewer.sink(textOf(each)))) return
    viewer.missed = 0
    this.#replay(viewer)
  }

  #replay(viewer: Viewer): void {
    const visible = (sessionId: string) => (this.#sessions.get(sessionId)?.place ?? 1) < viewer.sample
    for (const [id, { actor }] of this.#sessions) if (visible(id)) this.#tell(viewer, textOf(actor))
    for (const { sessionId, text } of this.#kept) if (visible(sessionId)) this.#tell(viewer, text)
  }
}

function shareOf(sample: number): number {
  if (sample >= 0 && sample <= 1) return sample
  throw new HeadgateError('CONFIG_INVALID', `sample: expected a number from 0 to 1, got ${sample}`)
}

/** Ids are random, so that any share of places is that share of requests, and the same requests for every viewer. */
function placeOf(requestId: string): number {
  return Number.parseInt(requestId.slice(0, 8), 16) / 2 ** 32
}
