import type { PoolConfig } from '../config.js'
import { HeadgateError } from '../errors.js'
import { API_NAMES, type ApiName } from '../providers/apis.js'
import type { Estimator } from '../providers/estimator.js'
import type { Usage } from '../providers/provider.js'

export type Priority = 'high' | 'normal' | 'low'

/** Shares of a tenant's turn by priority: weights, never strict, so `low` always moves. */
export const PRIORITY_WEIGHT: Readonly<Record<Priority, number>> = { high: 4, normal: 2, low: 1 }

/** What every governed call may say. */
export interface CallInput {
  /** Name of a configured pool; left out, `model` says where it may go. */
  readonly pool?: string | undefined
  /** Without a pool: the model, of which every pool that lists it may serve. With one: default its first model. */
  readonly model?: string | undefined
  /** Whose work it is; default `default`. */
  readonly tenant?: string
  readonly priority?: Priority
  /** From now: ms, or a duration such as `30s`. Default: none. */
  readonly deadline?: number | string
  readonly signal?: AbortSignal
  /** False: no answer but the pool's own. What can't be served ends with its error (RATE_LIMITED, …). Default true. */
  readonly degrade?: boolean
  /** LLM tokens to reserve, prompt and completion; default: estimated from the messages. */
  readonly estimatedTokens?: number
}

export interface ChatInput extends CallInput {
  /** Chat messages as the provider takes them. */
  readonly messages: readonly unknown[]
  /** Sent as `max_tokens`. */
  readonly maxTokens?: number
  /** The answer comes bit by bit, as `chunks`. Default false. */
  readonly stream?: boolean
  /** Further fields of the request body, passed through as they are. */
  readonly body?: Readonly<Record<string, unknown>>
  /** False: neither a known answer to the same question, nor this one given to others. */
  readonly cache?: boolean
  /** Further headers for the provider, with lower-case names. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A call of another kind than chat: its body goes to the provider as it is. */
export interface ApiInput extends CallInput {
  readonly api: Exclude<ApiName, 'chat'>
  readonly body: Readonly<Record<string, unknown>>
  readonly cache?: boolean
  readonly headers?: Readonly<Record<string, string>>
}

/** A call as it is sent. */
export interface Payload {
  readonly api: ApiName
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, string>> | undefined
  readonly model: string
  readonly stream: boolean
  /** LLM tokens to reserve. */
  readonly tokens: number
  /** Learns from what it took, where it was estimated. */
  readonly onUsage: ((usage: Usage) => void) | undefined
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
export function checkCall(input: CallInput): void {
  if (typeof input !== 'object' || input === null) throw bad('input', 'an object with a pool or a model', input)
  const { tenant, priority, estimatedTokens, signal, degrade } = input
  if (tenant !== undefined && !(typeof tenant === 'string' && NAME.test(tenant))) {
    throw bad('tenant', 'up to 100 letters, digits or . : / @ _ -', tenant)
  }
  if (priority !== undefined && !Object.hasOwn(PRIORITY_WEIGHT, priority)) {
    throw bad('priority', "'high', 'normal' or 'low'", priority)
  }
  if (estimatedTokens !== undefined && !(Number.isSafeInteger(estimatedTokens) && estimatedTokens >= 0)) {
    throw bad('estimatedTokens', 'a whole number ≥ 0', estimatedTokens)
  }
  if (degrade !== undefined && typeof degrade !== 'boolean') throw bad('degrade', 'true or false', degrade)
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw bad('signal', 'an AbortSignal', signal)
}

/** What `known` has under the name of a pool or a model. Throws BAD_REQUEST for another. */
export function named<T>(field: 'pool' | 'model', name: string | undefined, known: ReadonlyMap<string, T>): T {
  const found = known.get(name as string)
  if (found === undefined) throw bad(field, `one of ${[...known.keys()].join(', ') || 'none configured'}`, name)
  return found
}

/** The model that an input asks for, wherever it says so. */
export function modelOf(input: CallInput & Partial<Pick<ChatInput, 'body'>>): string | undefined {
  const model = input.model ?? input.body?.model
  return typeof model === 'string' ? model : undefined
}

/** What a call over HTTP sends, and the LLM tokens to reserve for it. */
export function payloadOf(
  input: ChatInput | ApiInput,
  estimator: Estimator,
  { models, modelNames = {} }: Pick<PoolConfig, 'models' | 'modelNames'>,
): Payload {
  const defaultModel = modelOf(input) ?? models[0] ?? ''
  const named = 'api' in input ? apiBody(input, defaultModel) : chatBody(input, defaultModel)
  const { api, stream } = named
  const own = Object.hasOwn(modelNames, named.body.model as string) && modelNames[named.body.model as string]
  const body = own ? { ...named.body, model: own } : named.body
  if (typeof stream !== 'boolean') throw bad('stream', 'true or false', stream)
  const { headers, estimatedTokens, cache } = input
  if (cache !== undefined && typeof cache !== 'boolean') throw bad('cache', 'true or false', cache)
  if (headers !== undefined && (typeof headers !== 'object' || headers === null))
    throw bad('headers', 'an object', headers)
  const model = String(body.model)
  const estimate = estimatedTokens === undefined ? estimator.reserve(api, body, model) : undefined
  return { api, body, headers, model, stream, tokens: estimate?.tokens ?? estimatedTokens!, onUsage: estimate?.observe }
}

function apiBody({ api, body }: ApiInput, defaultModel: string) {
  if (!API_NAMES.includes(api)) throw bad('api', `one of ${API_NAMES.join(', ')}`, api)
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw bad('body', 'an object', body)
  return { api, body: { ...body, model: body.model ?? defaultModel }, stream: body.stream ?? false }
}

function chatBody(input: ChatInput, defaultModel: string) {
  const { messages, maxTokens, body: extra = {} } = input
  if (!Array.isArray(messages) || messages.length === 0) throw bad('messages', 'a non-empty array', messages)
  if (maxTokens !== undefined && !(Number.isSafeInteger(maxTokens) && maxTokens >= 1)) {
    throw bad('maxTokens', 'a whole number ≥ 1', maxTokens)
  }
  const stream = input.stream ?? extra.stream ?? false
  const isWhole = extra.model === defaultModel && extra.messages === messages && maxTokens === undefined
  // A body that says it all goes on as it is.
  if (isWhole && stream === (extra.stream ?? false)) return { api: 'chat' as const, body: extra, stream }
  const body = {
    ...extra,
    model: defaultModel,
    messages,
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
    // Where nothing was said of it, nothing is sent.
    ...(stream !== (extra.stream ?? false) && { stream }),
  }
  return { api: 'chat' as const, body, stream }
}

export function checkFunction(fn: unknown): void {
  if (typeof fn !== 'function') throw bad('run', 'a function as its second argument', fn)
}

function bad(field: string, expected: string, got: unknown): HeadgateError {
  const kind = Array.isArray(got) ? `an array of ${got.length}` : typeof got
  const shown = typeof got === 'string' ? JSON.stringify(got.slice(0, 100)) : Object(got) === got ? kind : String(got)
  return new HeadgateError('BAD_REQUEST', `${field}: expected ${expected}, got ${shown}`)
}
