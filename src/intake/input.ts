import { HeadgateError } from '../errors.js'
import { estimateTokens } from '../providers/estimate.js'

export type Priority = 'high' | 'normal' | 'low'

/** Shares of a tenant's turn by priority: weights, never strict, so `low` always moves. */
export const PRIORITY_WEIGHT: Readonly<Record<Priority, number>> = { high: 4, normal: 2, low: 1 }

/** What every governed call may say. */
export interface CallInput {
  /** Name of a configured pool. */
  readonly pool: string
  /** Whose work it is; default `default`. */
  readonly tenant?: string
  readonly priority?: Priority
  /** From now: ms, or a duration such as `30s`. Default: none. */
  readonly deadline?: number | string
  readonly signal?: AbortSignal
  /** LLM tokens to reserve, prompt and completion; default: estimated from the messages. */
  readonly estimatedTokens?: number
}

export interface ChatInput extends CallInput {
  /** Chat messages as the provider takes them. */
  readonly messages: readonly unknown[]
  /** Default: the pool's first model. */
  readonly model?: string
  /** Sent as `max_tokens`. */
  readonly maxTokens?: number
  /** Streaming is not available in this version: anything but false is BAD_REQUEST. */
  readonly stream?: false
  /** Further fields of the request body, passed through as they are. */
  readonly body?: Readonly<Record<string, unknown>>
}

/** A chat completion as far as every provider agrees on it; further fields are passed through. */
export interface ChatCompletion {
  readonly model: string
  readonly choices: readonly {
    readonly index: number
    readonly message: { readonly role: string; readonly content: string | null }
    readonly finish_reason: string | null
  }[]
}

const NAME = /^[\w.:/@-]{1,100}$/

/** The input's common part, checked. */
export function checkCall(input: CallInput, pools: ReadonlyMap<string, unknown>): void {
  if (typeof input !== 'object' || input === null) throw bad('input', 'an object with a pool', input)
  if (!pools.has(input.pool))
    throw bad('pool', `one of ${[...pools.keys()].join(', ') || 'none configured'}`, input.pool)
  const { tenant, priority, estimatedTokens, signal } = input
  if (tenant !== undefined && !(typeof tenant === 'string' && NAME.test(tenant))) {
    throw bad('tenant', 'up to 100 letters, digits or . : / @ _ -', tenant)
  }
  if (priority !== undefined && !Object.hasOwn(PRIORITY_WEIGHT, priority)) {
    throw bad('priority', "'high', 'normal' or 'low'", priority)
  }
  if (estimatedTokens !== undefined && !(Number.isSafeInteger(estimatedTokens) && estimatedTokens >= 0)) {
    throw bad('estimatedTokens', 'a whole number ≥ 0', estimatedTokens)
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw bad('signal', 'an AbortSignal', signal)
}

/** The body of a chat call and the LLM tokens to reserve for it. */
export function chatBody(
  input: ChatInput,
  defaultModel: string,
): { readonly body: Record<string, unknown>; readonly model: string; readonly tokens: number } {
  const { messages, maxTokens, body: extra = {} } = input
  if (!Array.isArray(messages) || messages.length === 0) throw bad('messages', 'a non-empty array', messages)
  if ((input.stream ?? extra.stream ?? false) !== false) {
    throw bad('stream', 'false: streaming is not available in this version', input.stream ?? extra.stream)
  }
  if (maxTokens !== undefined && !(Number.isSafeInteger(maxTokens) && maxTokens >= 1)) {
    throw bad('maxTokens', 'a whole number ≥ 1', maxTokens)
  }
  const model = input.model ?? (typeof extra.model === 'string' ? extra.model : defaultModel)
  const body = { ...extra, model, messages, ...(maxTokens !== undefined && { max_tokens: maxTokens }) }
  return { body, model, tokens: input.estimatedTokens ?? estimate(body) }
}

function estimate(body: Record<string, unknown>): number {
  const limit = body.max_completion_tokens ?? body.max_tokens
  const maxTokens = typeof limit === 'number' && limit >= 0 ? { maxTokens: Math.ceil(limit) } : {}
  return estimateTokens({ messages: body.messages, tools: body.tools, ...maxTokens }).total
}

export function checkFunction(fn: unknown): void {
  if (typeof fn !== 'function') throw bad('run', 'a function as its second argument', fn)
}

function bad(field: string, expected: string, got: unknown): HeadgateError {
  const kind = Array.isArray(got) ? `an array of ${got.length}` : typeof got
  const shown = typeof got === 'string' ? JSON.stringify(got.slice(0, 100)) : Object(got) === got ? kind : String(got)
  return new HeadgateError('BAD_REQUEST', `${field}: expected ${expected}, got ${shown}`)
}
