import type { InspectionEvent } from 'xstate'
import { HeadgateError } from '../errors.js'
import { notice, type StatelyEvent, statelyEventOf } from './stately.js'

/** Requests that are watched at once; further ones are left alone, whole. */
const MAX_WATCHED = 200
/** Events kept for who comes later, and requests whose definition and state are kept with them. */
const MAX_EVENTS = 1_000
const MAX_SESSIONS = 400
const MAX_VIEWERS = 16

export interface InspectorOptions {
  /** The share of requests that is shown, 0 to 1; a viewer may ask for less. Default 1. */
  readonly sample?: number
}

/** Takes one message in Stately's wire format; false where it has no room for it now. */
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

interface Kept {
  readonly event: StatelyEvent
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
    const viewer: Viewer = { sink, sample: Math.min(shareOf(sample), this.#sample), missed: 0 }
    this.#replay(viewer)
    this.#viewers.add(viewer)
    this.#unwatch ??= this.gate.inspect((id) => this.#observe(id))
    return () => this.#disconnect(viewer)
  }

  #disconnect(viewer: Viewer): void {
    this.#viewers.delete(viewer)
    if (this.#viewers.size > 0) return
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
    const text = JSON.stringify(event)
    if (event.type !== '@xstate.actor') this.#kept.push({ event, text })
    if (this.#kept.length > MAX_EVENTS * 1.25)
      for (const { event: old } of this.#kept.splice(0, MAX_EVENTS / 4)) this.#fold(old)
    if (this.#sessions.size > MAX_SESSIONS) this.#forget()
    for (const viewer of this.#viewers) if (place < viewer.sample) this.#send(viewer, text)
  }

  /** What leaves the buffer lives on in its session's state. */
  #fold(event: StatelyEvent): void {
    const session = this.#sessions.get(event.sessionId)
    if (!session || event.type !== '@xstate.snapshot') return
    session.actor = { ...session.actor, snapshot: event.snapshot } as StatelyEvent
  }

  /** The oldest sessions go, with their events. */
  #forget(): void {
    for (const id of this.#sessions.keys()) {
      if (this.#sessions.size <= MAX_SESSIONS * 0.75) break
      this.#sessions.delete(id)
    }
    this.#kept = this.#kept.filter(({ event }) => this.#sessions.has(event.sessionId))
  }

  /** Who has no room misses it, and is told later; then it sees what is kept once more. */
  #send(viewer: Viewer, text: string): void {
    if (viewer.missed === 0) {
      if (!viewer.sink(text)) viewer.missed = 1
      return
    }
    const told = notice('headgate-inspector', Date.now(), 'MISSED', { events: viewer.missed })
    if (told.every((each) => viewer.sink(JSON.stringify(each)))) {
      viewer.missed = 0
      this.#replay(viewer)
    } else viewer.missed++
  }

  #replay(viewer: Viewer): void {
    const visible = (sessionId: string) => (this.#sessions.get(sessionId)?.place ?? 1) < viewer.sample
    for (const [id, { actor }] of this.#sessions) if (visible(id)) this.#send(viewer, JSON.stringify(actor))
    for (const { event, text } of this.#kept) if (visible(event.sessionId)) this.#send(viewer, text)
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
