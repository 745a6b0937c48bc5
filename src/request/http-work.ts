import { HeadgateError } from '../errors.js'
import {
  type ApiName,
  askForUsage,
  chunkFailure,
  chunkUsage,
  isStreamEnd,
  isUsageOnly,
  pathOf,
  usageOf,
} from '../providers/apis.js'
import { chatUrlOf } from '../providers/chat-url.js'
import type { StreamSink } from '../providers/http-answer.js'
import type { HttpCaller } from '../providers/http-caller.js'
import {
  failureOf,
  type Provider,
  type ProviderFailure,
  type ProviderResponse,
  type ResponseHead,
  type Usage,
} from '../providers/provider.js'
import { SseReader, type StreamEvent } from '../providers/sse.js'
import { completionAsStream } from './as-stream.js'
import type { StreamTarget } from './event-stream.js'
import type { CallContext, CallEnd, Work } from './work.js'

/** Comments and heartbeats kept for the reader while nothing says yet that the answer begins. */
const MAX_EARLY_EVENTS = 16
const DONE = '[DONE]'

export interface HttpTarget {
  readonly provider: Provider
  readonly baseURL: string
  readonly apiKey?: string | undefined
}

/** `open` is told the answer's HTTP status before its first event. */
type PostStream = Pick<StreamTarget, 'put' | 'room'> & { open?(httpStatus: number): void }

export interface Post {
  readonly api: ApiName
  readonly body: Readonly<Record<string, unknown>>
  /** Of the caller's own, with lower-case names; they go before the profile's. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Told what the provider counted, once it has answered. */
  readonly onUsage?: ((usage: Usage) => void) | undefined
}

/** A call over HTTP, and what it sends. */
export interface HttpWork extends Work {
  /** The caller's body as it was when the request was made. */
  readonly body: () => Readonly<Record<string, unknown>>
}

/**
 * A call over HTTP. The body is serialized once, whatever the number of attempts. `stream`: where the answer goes bit by
 * bit; left out for one that is wanted whole.
 */
export function httpWork(caller: HttpCaller, target: HttpTarget, post: Post, stream?: PostStream): HttpWork {
  const { provider, apiKey } = target
  const { api } = post
  const path = pathOf(api, provider)
  if (path === undefined) throw new HeadgateError('BAD_REQUEST', `api: ${provider.name} has no ${api}`)
  const url = urlOf(target, path)
  const { body, hidden } = stream ? askForUsage(api, provider, post.body) : { body: post.body, hidden: false }
  const text = serialize(body)
  return {
    answersInWords: api === 'chat',
    api,
    body() {
      const sent: Record<string, unknown> = JSON.parse(text)
      if (hidden) sent.stream_options = post.body.stream_options
      return sent
    },
    async call(context) {
      const { requestId, callTimeoutMs, cut } = context
      const maySend = () => context.maySend()
      const auth = apiKey === undefined ? {} : provider.authHeaders(apiKey)
      const headers: Record<string, string> = Object.assign(ownHeaders(), auth, post.headers)
      headers['x-headgate-request-id'] = requestId
      const sink = stream && new AnswerSink(api, provider, stream, hidden, context)
      const result = await caller.call({ url, headers, body: text, timeoutMs: callTimeoutMs, cut, maySend, sink })
      if (result.type === 'unsent') return result
      if (result.type === 'failed') {
        const sent = result.sent ? 'cut' : 'nothing'
        return { type: 'failed', failure: sink?.failure ?? result.failure, sent, usage: sink?.usage }
      }
      const end = sink?.opened ? sink.callEnd(result.response) : judge(api, provider, result.response)
      if (end.type === 'completed' && end.usage) post.onUsage?.(end.usage)
      if (end.type === 'completed' && sink && !sink.opened && api === 'chat') sink.giveWhole(result.response)
      return end
    },
  }
}

/** A literal each time: to add to a copy of one costs ten times as much. */
function ownHeaders() {
  // A compressed answer would be of use to nobody: it is read here, and the way is short.
  return { 'content-type': 'application/json', 'accept-encoding': 'identity', 'x-headgate-request-id': '' }
}

/** Where the pools' calls go: what is the same for every request of a pool is put together once. */
const urls = new WeakMap<HttpTarget, Map<string, string>>()

function urlOf(target: HttpTarget, path: string): string {
  let known = urls.get(target)
  if (!known) {
    known = new Map()
    urls.set(target, known)
  }
  let url = known.get(path)
  if (url === undefined) {
    url = chatUrlOf(target.baseURL, path)
    known.set(path, url)
  }
  return url
}

function serialize(body: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(body)
  } catch (cause) {
    throw new HeadgateError('BAD_REQUEST', `the request body can't be sent as JSON: ${String(cause)}`, { cause })
  }
}

function judge(api: ApiName, provider: Provider, response: ProviderResponse): CallEnd {
  const failure = streamedFailure(api, provider, response) ?? provider.classify(response)
  const observations = provider.limitObservations?.(response) ?? []
  if (failure) return { type: 'failed', failure, sent: 'whole', observations }
  const { body, status } = response
  const text = typeof body === 'string' ? undefined : response.text
  return { type: 'completed', value: body, text, usage: usageOf(api, provider, body), httpStatus: status, observations }
}

/** A provider that streams whatever it was asked for: another attempt would be paid for, and come out the same. */
function streamedFailure(api: ApiName, provider: Provider, response: ProviderResponse): ProviderFailure | undefined {
  const { status, headers, body } = response
  if (status >= 300 || typeof body !== 'string' || !/^text\/event-stream\b/i.test(String(headers['content-type']))) {
    return undefined
  }
  for (const { json } of new SseReader().read(`${body}\n\n`)) {
    const failure = json === undefined ? undefined : chunkFailure(api, provider, response, json)
    if (failure) return failure
  }
  const message = `${provider.name}: expected one JSON answer, got an event stream: ask with stream: true`
  return failureOf('UNKNOWN', message)
}

/** One attempt's streamed answer, on its way to the reader: failures in it end the call, usage is kept. */
class AnswerSink implements StreamSink {
  failure: ProviderFailure | undefined
  /** As of the last event that told it. */
  usage: Usage | undefined
  #head: ResponseHead | undefined
  #begun = false
  #whole = false
  readonly #early: StreamEvent[] = []
  readonly #reader = new SseReader()

  constructor(
    private readonly api: ApiName,
    private readonly provider: Provider,
    private readonly stream: PostStream,
    private readonly hidden: boolean,
    private readonly context: CallContext,
  ) {}

  get opened(): boolean {
    return this.#head !== undefined
  }

  open(head: ResponseHead): void {
    this.#head = head
  }

  write(text: string): Promise<void> | undefined {
    for (const event of this.#reader.read(text)) this.#take(event)
    return this.stream.room()
  }

  /** Some leave out the line that would end the last event. */
  end(text: string): void {
    for (const event of this.#reader.read(text)) this.#take(event)
    for (const event of this.#reader.read('\n\n')) if (!isTorn(event)) this.#take(event)
  }

  /** The provider didn't stream. Whoever reads events gets the same as events. */
  giveWhole(response: ProviderResponse): void {
    const events = completionAsStream(response.body)
    if (!events) return
    this.#head = response
    for (const event of events) this.#take(event)
  }

  callEnd({ status, headers }: ProviderResponse): CallEnd {
    const observations = this.provider.limitObservations?.({ headers }) ?? []
    const { usage } = this
    if (this.#whole) return { type: 'completed', value: undefined, usage, httpStatus: status, observations }
    const what = this.#begun ? 'broke off before the answer was whole' : 'ended without an event'
    const failure = failureOf('SRV', `${this.provider.name}: the stream ${what}`)
    return { type: 'failed', failure, sent: 'whole', usage, observations }
  }

  #take(event: StreamEvent): void {
    const { json } = event
    this.#whole ||= isStreamEnd(this.api, this.provider, event)
    if (json !== undefined) {
      this.failure = chunkFailure(this.api, this.provider, this.#head!, json)
      if (this.failure) throw new Error('the stream brought an error')
      this.usage = chunkUsage(this.api, this.provider, json, this.usage) ?? this.usage
      if (this.hidden && isUsageOnly(json)) return
    }
    if (this.#begun) this.stream.put(event)
    else if (event.data) this.#begin(event)
    else if (this.#early.length < MAX_EARLY_EVENTS) this.#early.push(event)
  }

  /** Until here an error is a failed attempt like any other; from here on the answer is the reader's. */
  #begin(event: StreamEvent): void {
    this.#begun = true
    this.context.begin(this.#head!)
    this.stream.open?.(this.#head!.status)
    for (const early of this.#early) this.stream.put(early)
    this.stream.put(event)
  }
}

/** Of an event that was cut off in the middle. */
function isTorn({ data = '', json }: StreamEvent): boolean {
  return data.startsWith('{') ? json === undefined : data !== DONE && DONE.startsWith(data)
}
