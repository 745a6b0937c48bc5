import type { ActorRefLike, InspectionEvent } from 'xstate'

/** The wire of `@statelyai/inspect` that this speaks. */
const WIRE_VERSION = '0.7.2'
/** As `@statelyai/inspect` writes actions and guards given in place. */
const NAME_OF_FUNCTION = (_key: string, value: unknown) =>
  typeof value === 'function' ? { type: value.name || 'inline' } : value

interface Base {
  readonly rootId: string
  readonly sessionId: string
  readonly createdAt: string
  readonly id: null
  readonly _version: string
}
export type StatelyEvent = Base &
  (
    | {
        readonly type: '@xstate.actor'
        readonly name: string
        readonly definition: string
        readonly parentId?: string
        readonly snapshot: object
      }
    | { readonly type: '@xstate.event'; readonly event: BareEvent; readonly sourceId?: string }
    | { readonly type: '@xstate.snapshot'; readonly event: BareEvent; readonly snapshot: object }
  )

interface BareEvent {
  readonly type: string
}

/** Of an inspected actor, more than its published type tells. */
interface Inspected extends ActorRefLike {
  readonly id: string
  readonly logic?: { readonly config?: unknown }
  readonly _parent?: Inspected
  getSnapshot(): unknown
}

const EVENT_FIELDS = ['type', 'via']
const FAILURE_FIELDS = ['code', 'retryable', 'mendable', 'retryAfterMs']
const CONTEXT_FIELDS = ['requestId', 'pool', 'tenant', 'maxAttempts', 'attempt', 'degradeReason', 'status', 'via']
const OUTPUT_FIELDS = ['status', 'attempts', 'code', 'degradeReason', 'via']

/**
 * One of XState's inspection events as Stately's inspector reads it; undefined for the kinds it does not show.
 * Nothing is passed on but what is named here: an event, a failure or a child's output may carry a prompt or an answer.
 */
export function statelyEventOf(inspection: InspectionEvent, nowMs: number): StatelyEvent | undefined {
  const actor = inspection.actorRef as unknown as Inspected
  const base = { sessionId: actor.sessionId, rootId: inspection.rootId, ...stamp(nowMs) }
  const isRequest = base.sessionId === base.rootId
  switch (inspection.type) {
    case '@xstate.actor': {
      const snapshot = snapshotOf(actor.getSnapshot(), isRequest)
      const parentId = actor._parent?.sessionId
      const parent = parentId === undefined ? {} : { parentId }
      return { ...base, type: inspection.type, name: actor.id, definition: definitionOf(actor), ...parent, snapshot }
    }
    case '@xstate.event': {
      const sourceId = inspection.sourceRef?.sessionId
      const source = sourceId === undefined ? {} : { sourceId }
      return { ...base, type: inspection.type, event: eventOf(inspection.event), ...source }
    }
    case '@xstate.snapshot': {
      const snapshot = snapshotOf(inspection.snapshot, isRequest)
      return { ...base, type: inspection.type, event: eventOf(inspection.event), snapshot }
    }
    default:
      return undefined
  }
}

/** A stand-in for an actor that is none: it says what the inspector itself has to tell. */
export function notice(sessionId: string, nowMs: number, type: string, details: object): [StatelyEvent, StatelyEvent] {
  const base = { sessionId, rootId: sessionId, ...stamp(nowMs) }
  const definition = JSON.stringify({ id: sessionId })
  return [
    { ...base, type: '@xstate.actor', name: sessionId, definition, snapshot: { status: 'active' } },
    { ...base, type: '@xstate.event', event: { type, ...details } },
  ]
}

function stamp(nowMs: number): Pick<Base, 'createdAt' | 'id' | '_version'> {
  return { createdAt: String(nowMs), id: null, _version: WIRE_VERSION }
}

/** An event as it goes out. Of one machine the definition, by far the longest part, is written once. */
export function textOf(event: StatelyEvent): string {
  if (event.type !== '@xstate.actor') return JSON.stringify(event)
  const { definition, ...others } = event
  if (definition !== written.definition) written = { definition, text: JSON.stringify(definition) }
  return `${JSON.stringify(others).slice(0, -1)},"definition":${written.text}}`
}

let written = { definition: '', text: '""' }

/** All requests run on one machine, so its definition is written once. */
const definitions = new WeakMap<object, string>()

function definitionOf({ logic, id }: Inspected): string {
  const config = logic?.config
  if (typeof config !== 'object' || config === null) return JSON.stringify({ id })
  const known = definitions.get(config)
  if (known !== undefined) return known
  const definition = JSON.stringify(config, NAME_OF_FUNCTION)
  definitions.set(config, definition)
  return definition
}

function eventOf(event: { readonly type: string }): BareEvent {
  const { failure } = event as { failure?: unknown }
  return { ...pick(event, EVENT_FIELDS), ...failureOf(failure) } as unknown as BareEvent
}

function snapshotOf(snapshot: unknown, isRequest: boolean): object {
  if (!isRequest) return pick(snapshot, ['status'])
  const { context, output } = (snapshot ?? {}) as { context?: { failure?: unknown }; output?: unknown }
  return {
    ...pick(snapshot, ['status', 'value']),
    context: { ...pick(context, CONTEXT_FIELDS), ...failureOf(context?.failure) },
    ...(output !== undefined && { output: pick(output, OUTPUT_FIELDS) }),
  }
}

function failureOf(failure: unknown): object {
  return failure === undefined ? {} : { failure: pick(failure, FAILURE_FIELDS) }
}

/** Only text, numbers and flags: what is named may still be somebody else's object. */
function pick(value: unknown, fields: readonly string[]): Record<string, unknown> {
  const from = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  const kept: Record<string, unknown> = {}
  for (const field of fields) {
    const item = from[field]
    if (item !== undefined && typeof item !== 'object' && typeof item !== 'function') kept[field] = item
  }
  return kept
}
