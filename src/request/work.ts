import type { Clock, TimerHandle } from '../clock.js'
import type { PoolConfig } from '../config.js'
import type { LimitObservation } from '../providers/limit-headers.js'
import type { ApiName } from '../providers/apis.js'
import {
  failureOf,
  type Provider,
  type ProviderFailure,
  type ProviderResponse,
  type ResponseHead,
  type Usage,
} from '../providers/provider.js'
import { parseBody } from '../providers/wire.js'
import { Cut } from './cut.js'

export interface CallContext {
  readonly requestId: string
  readonly attempt: number
  /** The call's own timeout: what cannot be cut off holds its slot no longer. A deadline that comes before it cuts. */
  readonly callTimeoutMs: number
  readonly cut: Cut
  /** Asked immediately before anything is sent. */
  maySend(): boolean
  /** Told when a streamed answer begins, just before its first event goes to the reader. */
  begin(head: ResponseHead): void
}

/** How one call ended. */
export type CallEnd =
  | {
      readonly type: 'completed'
      readonly value: unknown
      /** The value as it came, where it came as JSON. */
      readonly text?: string | undefined
      readonly usage: Usage | undefined
      readonly httpStatus?: number
      /** What the provider's headers said of its limits. */
      readonly observations?: readonly LimitObservation[]
    }
  /** The permission was void: nothing was sent. */
  | { readonly type: 'unsent' }
  | {
      readonly type: 'failed'
      readonly failure: ProviderFailure
      /** `nothing`: certainly not sent; `whole`: the provider answered; `cut`: it may still be at work. */
      readonly sent: 'nothing' | 'whole' | 'cut'
      /** Resolves when the call is over on this side; left out when it is. */
      readonly over?: Promise<void>
      /** As far as a stream told it before it broke off. */
      readonly usage?: Usage | undefined
      readonly observations?: readonly LimitObservation[]
    }

/** What a request does once it may: exactly one call per grant. */
export interface Work {
  /** Whether a degraded message can stand in for the answer. */
  readonly answersInWords: boolean
  /** Of a call over HTTP. */
  readonly api?: ApiName
  call(context: CallContext): Promise<CallEnd>
}

/** What `gate.run` hands to the function it governs. */
export interface RunContext {
  readonly signal: AbortSignal
  /** From 1. */
  readonly attempt: number
  /** The pool that permits it: whose key to take, where several serve the model. */
  readonly pool: string
  /** Tells what the provider counted, where the function knows: the difference to `estimatedTokens` is settled. */
  readonly reportUsage: (usage: Pick<Usage, 'promptTokens' | 'completionTokens'>) => void
}

/** The pool whose provider is called. */
type Serving = Pick<PoolConfig, 'name' | 'provider'>

type GovernedFunction = (context: RunContext) => Promise<unknown>

/** Any asynchronous function. What it throws is classified by its HTTP status and provider code. */
export function functionWork(serving: Serving, clock: Clock, fn: GovernedFunction): Work {
  return new FunctionWork(serving, clock, fn)
}

class FunctionWork implements Work {
  constructor(
    private readonly serving: Serving,
    private readonly clock: Clock,
    private readonly fn: GovernedFunction,
  ) {}

  get answersInWords(): boolean {
    return false
  }

  call(context: CallContext): Promise<CallEnd> {
    if (!context.maySend()) return Promise.resolve({ type: 'unsent' })
    return new Promise((resolve) => {
      const { name: pool, provider } = this.serving
      const run = new FunctionRun(this.clock, context, resolve)
      started(this.fn, run.told(pool)).then(
        (value) => run.settle({ type: 'completed', value, usage: run.usage }),
        (error) => run.settle({ type: 'failed', failure: classifyThrown(provider, error), sent: 'whole' }),
      )
    })
  }
}

/** One call of a function, and its end, of which only the first counts. */
class FunctionRun {
  usage: Usage | undefined = undefined
  readonly #cut = new Cut()
  readonly #timer: TimerHandle
  /** Set once it was stopped: a function that ignores its signal keeps the slot until it ends, or its time is up. */
  #release: (() => void) | undefined = undefined

  constructor(
    private readonly clock: Clock,
    private readonly context: CallContext,
    private readonly resolve: (end: CallEnd) => void,
  ) {
    const { callTimeoutMs, cut } = context
    cut.onMade = () => this.#stop(CANCELLED)
    this.#timer = clock.setTimeout(() => {
      this.#stop(failureOf('TMO', `the function did not settle within ${callTimeoutMs} ms`))
      this.#release?.()
    }, callTimeoutMs)
  }

  /** What the function is told. The signal is its own property, so that a copy has it too. */
  told(pool: string): RunContext {
    const cut = this.#cut
    return {
      attempt: this.context.attempt,
      pool,
      reportUsage: ({ promptTokens, completionTokens }) => {
        this.usage = { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens }
      },
      get signal() {
        return cut.signal
      },
    }
  }

  settle(end: CallEnd): void {
    this.clock.clearTimeout(this.#timer)
    this.context.cut.onMade = undefined
    this.#release?.()
    this.resolve(end)
  }

  #stop(failure: ProviderFailure): void {
    if (this.#release) return
    const over = new Promise<void>((done) => {
      this.#release = done
    })
    this.resolve({ type: 'failed', failure, sent: 'cut', over })
    this.#cut.make()
  }
}

/** Calls now, not a microtask later: the permission was checked immediately before. What it throws comes as a rejection. */
function started(fn: GovernedFunction, context: RunContext): Promise<unknown> {
  try {
    return Promise.resolve(fn(context))
  } catch (error) {
    return Promise.reject(error)
  }
}

const CANCELLED: ProviderFailure = {
  class: 'UNKNOWN',
  code: 'CANCELLED',
  retryable: false,
  mendable: false,
  message: 'the call was cancelled',
}

/** An SDK's error carries the HTTP status; anything else is the caller's own and is not retried. */
function classifyThrown(provider: Provider, error: unknown): ProviderFailure {
  try {
    const { message } = Object(error) as { message?: unknown }
    const text = typeof message === 'string' ? message : `the function threw ${describe(error)}`
    const response = responseIn(error, text)
    const failure = response && provider.classify(response)
    if (failure) return { ...failure, cause: error }
    return { ...failureOf('UNKNOWN', text), mendable: false, cause: error }
  } catch {
    // Anything can be thrown, also what can't be looked at.
    return { ...failureOf('UNKNOWN', 'the function threw something unreadable'), mendable: false, cause: error }
  }
}

/**
 * The response that an error tells of, if any: OpenAI's and Anthropic's SDKs have `status`, `headers` and the body's
 * `error` (or its `code`), Vercel's `statusCode`, `responseHeaders` and `responseBody`.
 */
function responseIn(error: unknown, message: string): ProviderResponse | undefined {
  const thrown = Object(error) as Record<string, unknown>
  const { status = thrown.statusCode, headers = thrown.responseHeaders, error: inner, responseBody, code } = thrown
  if (typeof status !== 'number' || status < 400) return undefined
  if (typeof responseBody === 'string') return { status, headers: plainHeaders(headers), body: parseBody(responseBody) }
  const body = inner !== undefined && inner !== null ? { error: inner } : { error: { code, message } }
  return { status, headers: plainHeaders(headers), body }
}

function describe(value: unknown): string {
  return Object(value) === value ? `a value of type ${typeof value}` : String(value)
}

function plainHeaders(headers: unknown): Record<string, string> {
  if (headers instanceof Headers) return Object.fromEntries(headers)
  const plain: Record<string, string> = {}
  for (const [name, value] of Object.entries(Object(headers))) {
    if (typeof value === 'string') plain[name.toLowerCase()] = value
  }
  return plain
}
