import type { IncomingHttpHeaders } from 'node:http'
import type { ModelRequest } from './completion.js'
import type { WindowKind } from './enforcers.js'

/** The wires the simulator speaks: paths, error bodies, headers, streams and usage as each provider has them. */
export type ProfileName =
  | 'glm'
  | 'deepseek'
  | 'openai'
  | 'azure'
  | 'anthropic'
  | 'gemini'
  | 'mistral'
  | 'groq'
  | 'moonshot'
  | 'dashscope'
  | 'openrouter'
  | 'vllm'
  | 'ollama'

export interface WireError {
  readonly status: number
  readonly code: string
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

/** Why a request is refused, before it becomes a body. */
export type Refusal =
  | { readonly why: 'auth' | 'bad-json' | 'bad-body' | 'not-found' }
  | { readonly why: 'concurrency'; readonly limit: number }
  | RateRefusal

export interface RateRefusal {
  readonly why: 'requests' | 'tokens'
  readonly limit: number
  readonly windowMs: number
  readonly used: number
  readonly requested: number
  /** Infinity: never. */
  readonly waitMs: number
}

/** How one limit stands. */
export interface LimitFigure {
  readonly dimension: 'requests' | 'tokens'
  readonly windowMs: number
  readonly limit: number
  readonly remaining: number
  /** Until it is whole again. */
  readonly resetMs: number
}

/** One of a provider's calls: how its bodies are read, and its answers on the wire. */
export interface Api {
  /** Undefined when the body is no such request. */
  read(body: unknown): ModelRequest | undefined
  body(request: ModelRequest, id: string, createdMs: number): unknown
  /** Left out where answers come whole only. */
  readonly stream?: StreamAnswers
}

/** An answer as the events of a stream, which may fail on the way. */
export interface StreamAnswers {
  events(request: ModelRequest, id: string, createdMs: number): Iterable<string>
  /** The event that ends a stream with this error, after so many others. */
  failure(error: WireError, sent: number): string
  /** What keeps the connection of a stream alive while the answer is due. */
  readonly keepAlive: string
}

export interface Profile {
  readonly name: ProfileName
  /** Path of the base URL, with a query where it needs one. */
  readonly basePath: string
  /** The call that is made at a path; undefined where there is none. */
  apiAt(path: string, query: URLSearchParams): Api | undefined
  hasKey(headers: IncomingHttpHeaders): boolean
  /** How a window is enforced where the limit does not say. */
  readonly window: WindowKind
  /** Whether refused requests count against the limits too. */
  readonly refusedCount: boolean
  /** Whether an answer's tokens count on arrival (all of `max_tokens`), when it was written, or not at all. */
  readonly countsCompletion: 'up-front' | 'as-produced' | 'never'
  /** What each answer and each refusal says about the limits. */
  limitHeaders(figures: readonly LimitFigure[], wallMs: number): Record<string, string>
  refuse(refusal: Refusal): WireError
  /** The error a test asks for by its code. */
  injected(code: string): WireError
}

/** What most wires have in common. */
export const COMMON = {
  hasKey: (headers) => /^Bearer\s+\S/i.test(headers.authorization ?? ''),
  window: 'sliding',
  refusedCount: false,
  countsCompletion: 'up-front',
  limitHeaders: () => ({}),
} satisfies Partial<Profile>

/** Calls by their paths, each below any of these base paths. */
export function apisBelow(basePaths: readonly string[], apis: Readonly<Record<string, Api>>): Profile['apiAt'] {
  const byPath = new Map(
    basePaths.flatMap((base) => Object.entries(apis).map(([path, api]) => [base + path, api] as const)),
  )
  return (path) => byPath.get(path)
}

export function fromTable(table: Readonly<Record<string, WireError>>, provider: string): Profile['injected'] {
  return (code) => {
    const error = Object.hasOwn(table, code) ? table[code] : undefined
    if (!error) throw new RangeError(`${provider} code: expected one of ${Object.keys(table).join(', ')}, got ${code}`)
    return error
  }
}

/** `retry-after` in whole seconds; none where no wait helps. */
export function retryAfter(waitMs: number): Record<string, string> {
  return Number.isFinite(waitMs) ? { 'retry-after': String(Math.ceil(waitMs / 1000)) } : {}
}

/** `retry-after` and `retry-after-ms`. */
export function retryAfterMs(waitMs: number): Record<string, string> {
  return Number.isFinite(waitMs) ? { ...retryAfter(waitMs), 'retry-after-ms': String(Math.ceil(waitMs)) } : {}
}

/** A duration as Go prints it: `0s`, `120ms`, `1.5s`, `6m0s`, `1h0m0s`; rounded up to whole ms. */
export function goDuration(ms: number): string {
  const whole = Math.ceil(ms)
  if (whole > 0 && whole < 1000) return `${whole}ms`
  const hours = Math.floor(whole / 3_600_000)
  const minutes = Math.floor(whole / 60_000) % 60
  const seconds = `${(whole % 60_000) / 1000}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}
