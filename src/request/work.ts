import type { Clock } from '../clock.js'
import { failureOf, type Provider, type ProviderFailure, type ResponseHead, type Usage } from '../providers/provider.js'

export interface CallContext {
  readonly requestId: string
  readonly attempt: number
  /** Until the call's timeout or the request's deadline, whichever comes first. */
  readonly timeoutMs: number
  /** The call's own timeout: what cannot be cut off holds its slot no longer. */
  readonly callTimeoutMs: number
  readonly signal: AbortSignal
  /** Asked immediately before anything is sent. */
  readonly maySend: () => boolean
  /** Told when a streamed answer begins, just before its first event goes to the reader. */
  readonly begin: (head: ResponseHead) => void
}

/** How one call ended. */
export type CallEnd =
  | {
      readonly type: 'completed'
      readonly value: unknown
      readonly usage: Usage | undefined
      readonly httpStatus?: number
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
    }

/** What a request does once it may: exactly one call per grant. */
export interface Work {
  /** Whether a degraded message can stand in for the answer. */
  readonly answersInWords: boolean
  call(context: CallContext): Promise<CallEnd>
}

/** What `gate.run` hands to the function it governs. */
export interface RunContext {
  readonly signal: AbortSignal
  /** From 1. */
  readonly attempt: number
}

/** Any asynchronous function. What it throws is classified by its HTTP status and provider code. */
export function functionWork(provider: Provider, clock: Clock, fn: (context: RunContext) => Promise<unknown>): Work {
  return {
    answersInWords: false,
    call({ attempt, signal, callTimeoutMs, maySend }) {
      if (!maySend()) return Promise.resolve({ type: 'unsent' })
      return new Promise((resolve) => {
        const controller = new AbortController()
        let release = () => {}
        // A function that ignores its signal keeps the slot until it ends, or until its time is up.
        const over = new Promise<void>((done) => {
          release = done
        })
        const stop = (failure: ProviderFailure) => {
          resolve({ type: 'failed', failure, sent: 'cut', over })
          controller.abort()
        }
        const onAbort = () => stop(CANCELLED)
        const timer = clock.setTimeout(() => {
          stop(failureOf('TMO', `the function did not settle within ${callTimeoutMs} ms`))
          release()
        }, callTimeoutMs)
        const settle = (end: CallEnd) => {
          clock.clearTimeout(timer)
          signal.removeEventListener('abort', onAbort)
          release()
          resolve(end)
        }
        signal.addEventListener('abort', onAbort, { once: true })
        invoke(fn, { signal: controller.signal, attempt }).then(
          (value) => settle({ type: 'completed', value, usage: undefined }),
          (error) => settle({ type: 'failed', failure: classifyThrown(provider, error), sent: 'whole' }),
        )
      })
    },
  }
}

/** Calls now, not a microtask later: the permission was checked immediately before. */
async function invoke(fn: (context: RunContext) => Promise<unknown>, context: RunContext): Promise<unknown> {
  return fn(context)
}

const CANCELLED: ProviderFailure = {
  class: 'UNKNOWN',
  code: 'CANCELLED',
  retryable: false,
  mendable: false,
  message: 'the call was cancelled',
}

/** SDK errors carry `status`, and the body's `code` or `error`; anything else is the caller's own and is not retried. */
function classifyThrown(provider: Provider, error: unknown): ProviderFailure {
  try {
    const { status, code, error: body, headers, message } = Object(error) as Record<string, unknown>
    const text = typeof message === 'string' ? message : `the function threw ${describe(error)}`
    if (typeof status === 'number' && status >= 400) {
      const wire = body !== undefined && body !== null ? { error: body } : { error: { code, message: text } }
      const failure = provider.classify({ status, headers: plainHeaders(headers), body: wire })
      if (failure) return { ...failure, cause: error }
    }
    return { ...failureOf('UNKNOWN', text), mendable: false, cause: error }
  } catch {
    // Anything can be thrown, also what can't be looked at.
    return { ...failureOf('UNKNOWN', 'the function threw something unreadable'), mendable: false, cause: error }
  }
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
