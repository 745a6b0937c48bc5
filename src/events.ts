import { EventEmitter } from 'eventemitter3'
import type { DegradeReason } from '../machines/request-machine.js'
import type { DegradedVia, DispatcherState, ErrorCode, OutcomeStatus, RequestState } from '../machines/vocabulary.js'
import type { AlertNotice } from './alerts.js'

/** One step of one request. Entering the first state is a step too, with `from: null`. */
export interface TransitionEvent {
  readonly requestId: string
  readonly pool: string
  /** The pool of its last transition, where several serve its model and it went over to another. */
  readonly movedFrom?: string
  /** With its first transition, and where it moved. */
  readonly target?: RequestTarget
  readonly tenant: string
  readonly from: RequestState | null
  readonly to: RequestState
  /** The machine event that caused it. */
  readonly event: string
  /** Attempts whose call was started, this one included. */
  readonly attempt: number
  /** Milliseconds since the Unix epoch. */
  readonly atMs: number
}

/** What is asked for, of whom (a profile's name), by which API and where; a governed function has neither of the last two. */
export interface RequestTarget {
  readonly model: string
  readonly provider: string
  readonly api: 'chat' | 'embeddings' | 'responses' | undefined
  readonly server?: { readonly address: string; readonly port: number }
}

/** A failed attempt, whether or not it is retried. */
export interface AttemptFailedEvent {
  readonly requestId: string
  readonly pool: string
  readonly attempt: number
  readonly code: string
  readonly status: number | undefined
  readonly providerCode: string | undefined
  /** Of what went wrong below, e.g. `ECONNREFUSED`. */
  readonly causeCode: string | undefined
  /** In words, the provider's included: it may quote the request, so it is not for logs. */
  readonly message: string
}

export interface OutcomeEvent {
  readonly requestId: string
  readonly pool: string
  readonly tenant: string
  /** What was asked for, of whom (a profile's name), and by which API; a governed function has none. */
  readonly model: string
  readonly provider: string
  readonly api: 'chat' | 'embeddings' | 'responses' | undefined
  readonly status: OutcomeStatus
  /** Why it was degraded. */
  readonly reason?: DegradeReason
  /** Where the answer came from, if not from a call of its own. */
  readonly via: DegradedVia | undefined
  /** The id of the request that this one, in a fallback pool, stood in for: it has an outcome of its own. */
  readonly fallbackFor?: string
  /** Of the error that ended it; there is one unless it completed. */
  readonly code: ErrorCode | undefined
  /** Of the provider's response, where a call over HTTP completed. */
  readonly httpStatus: number | undefined
  /** LLM tokens: reserved; what the pool is charged of a completed request in the end; what it got back of the reserved. */
  readonly estimatedTokens: number
  readonly usedTokens: number
  readonly refundedTokens: number
  /** As the provider counted, where it told. */
  readonly promptTokens: number | undefined
  readonly completionTokens: number | undefined
  readonly attempts: number
  readonly queuedMs: number
  readonly waitedMs: number
  readonly calledMs: number
  readonly backedOffMs: number
}

/** What the dispatcher of a group lived through. */
export interface DispatcherEventNotice {
  readonly group: string
  readonly type:
    | 'state'
    | 'fenced'
    | 'clock-distrusted'
    | 'store-error'
    | 'on-floor'
    | 'limit-differs'
    | 'config-differs'
  readonly state: DispatcherState
  /** With `limit-differs`, once for each value: as this process is configured, and what the whole fleet goes by. */
  readonly limit?: { readonly id: string; readonly here: number; readonly fleet: number }
  /** With `config-differs`: how many processes of the fleet keep other limits (dimensions, windows, guard or slack). */
  readonly others?: number
  readonly cause?: unknown
}

export interface GateEvents {
  transition: (event: TransitionEvent) => void
  'attempt-failed': (event: AttemptFailedEvent) => void
  outcome: (event: OutcomeEvent) => void
  dispatcher: (event: DispatcherEventNotice) => void
  /** An alert began or ended: told by the one process of the fleet that judged it. */
  alert: (event: AlertNotice) => void
}

/** The gate's typed events. A listener that throws breaks nothing but itself: see `emitSafely`. */
export class GateEmitter extends EventEmitter<GateEvents> {
  /** Emits; what a listener throws becomes a process warning: the request it was told of goes on. */
  emitSafely<K extends keyof GateEvents>(name: K, event: Parameters<GateEvents[K]>[0]): void {
    if (this.listenerCount(name) === 0) return
    try {
      ;(this.emit as (name: K, event: Parameters<GateEvents[K]>[0]) => boolean).call(this, name, event)
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : new Error(`a gate listener threw ${typeof error}`))
    }
  }
}
