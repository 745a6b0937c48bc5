import { createHash } from 'node:crypto'
import type { ApiName } from '../providers/apis.js'
import type { StreamEvent } from '../providers/sse.js'
import { recordOf } from '../providers/wire.js'

/** A whole answer of a provider that may be given again. */
export interface KnownAnswer {
  readonly httpStatus: number
  /** The response's body; of a streamed answer undefined. */
  readonly value: unknown
  /** A streamed answer, event by event. */
  readonly events: readonly StreamEvent[] | undefined
}

/** An answer as it is kept: one text, and when it came (ms since the Unix epoch). */
export interface KeptAnswer {
  readonly text: string
  readonly atMs: number
}

/** What determines an answer. */
export interface Question {
  readonly provider: string
  readonly baseURL: string
  readonly api: ApiName
  /** Undefined where tenants share their answers. */
  readonly tenant: string | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
  readonly body: Readonly<Record<string, unknown>>
}

/** Said of the caller, to the provider's accounting: the answer does not depend on them. */
const ABOUT_THE_CALLER: ReadonlySet<string> = new Set(['user', 'metadata', 'safety_identifier', 'prompt_cache_key'])

/** SHA-256 of all that determines the answer, whatever the order of keys; undefined where something else does, too. */
export function keyOf({ provider, baseURL, api, tenant, headers, body }: Question): string | undefined {
  // A conversation's answer depends on what the provider remembers, a background one comes later.
  if (api === 'responses' && (body.conversation || body.previous_response_id || body.background)) return undefined
  const asked = Object.entries(body).filter(([name, value]) => {
    return !ABOUT_THE_CALLER.has(name) && !(name === 'stream' && value !== true)
  })
  const text = canonical([1, provider, baseURL, api, tenant ?? null, headers ?? {}, Object.fromEntries(asked)])
  return createHash('sha256').update(text).digest('base64url')
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, item) => {
    const record = recordOf(item)
    return record ? Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))) : item
  })
}

type Line = readonly [data: string | null, event: string | null, id: string | null, comment: string | null]

/** Undefined for what can't be written down. */
export function textOf({ httpStatus, value, events }: KnownAnswer): string | undefined {
  const lines = events?.map(({ data, event, id, comment }): Line => {
    return [data ?? null, event ?? null, id ?? null, comment ?? null]
  })
  try {
    return JSON.stringify({ httpStatus, ...(lines ? { lines } : { value }) })
  } catch {
    return undefined
  }
}

/** Throws for a text that is none of these. */
export function answerIn(text: string): KnownAnswer {
  const { httpStatus, value, lines } = JSON.parse(text) as { httpStatus: number; value?: unknown; lines?: Line[] }
  if (typeof httpStatus !== 'number') throw new Error('not an answer')
  return { httpStatus, value, events: lines?.map(eventOf) }
}

function eventOf([data, event, id, comment]: Line): StreamEvent {
  return {
    data: data ?? undefined,
    ...(event !== null && { event }),
    ...(id !== null && { id }),
    ...(comment !== null && { comment }),
    json: data?.startsWith('{') ? jsonOf(data) : undefined,
  }
}

/** For one more reader, whose changes nobody else sees. */
export function copyOf(event: StreamEvent): StreamEvent {
  return event.json === undefined ? event : { ...event, json: jsonOf(event.data ?? '') }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
