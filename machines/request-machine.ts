import { assign, setup } from 'xstate'
import type { DegradedVia, ErrorCode, Failure, OutcomeStatus } from './vocabulary.js'

export interface RequestInput {
  requestId: string
  pool: string
  tenant: string
  /** Attempts in all, the first one included; at least 1. */
  maxAttempts: number
}

/** Why a request was degraded. */
export type DegradeReason = 'attempts' | 'budget' | 'deadline' | 'refused'

/** Small and free of payloads: prompts and responses live in the registry, by request id. */
export interface RequestContext extends RequestInput {
  /** Attempts whose call was started. */
  attempt: number
  failure: Failure | undefined
  degradeReason: DegradeReason | undefined
  status: OutcomeStatus | undefined
  via: DegradedVia | undefined
}

export type RequestEvent =
  /** The pool's queue let the request go on to the dispatcher. */
  | { type: 'ADMITTED' }
  /** The answer is there already: nobody has to be asked. */
  | { type: 'ANSWER_KNOWN'; via: DegradedVia }
  /** The dispatcher granted the permission to call now. */
  | { type: 'TOKEN_GRANTED' }
  /** The permission ran out before anything was written; it went back unused. */
  | { type: 'TOKEN_VOID' }
  /** No permission will come: the pool is paused for good, or the dispatcher stopped. */
  | { type: 'TOKEN_REFUSED'; failure: Failure }
  | { type: 'CALL_COMPLETED' }
  /** `overBudget`: another attempt would be one retry too many, over all requests. */
  | { type: 'CALL_FAILED'; failure: Failure; overBudget?: boolean }
  | { type: 'BACKOFF_ELAPSED' }
  | { type: 'DEADLINE' }
  | { type: 'CANCEL' }
  /** Something could be answered in place of the provider. */
  | { type: 'DEGRADE_SERVED'; via: DegradedVia }
  /** Neither cache, fallback nor message had an answer. */
  | { type: 'DEGRADE_EXHAUSTED' }

/** The context that a request begins with. */
export function newRequestContext({ requestId, pool, tenant, maxAttempts }: RequestInput): RequestContext {
  return {
    requestId,
    pool,
    tenant,
    maxAttempts,
    attempt: 0,
    failure: undefined,
    degradeReason: undefined,
    status: undefined,
    via: undefined,
  }
}

/** What the machine carries out of `done`; the value itself is in the registry. */
export interface RequestOutput {
  status: OutcomeStatus
  attempts: number
  code: ErrorCode | undefined
  degradeReason: DegradeReason | undefined
  via: DegradedVia | undefined
}

/** Only the declared fields: whatever else a failure carries (message, body) stays out of context. */
function bare({ code, retryable, mendable, retryAfterMs }: Failure): Failure {
  return { code, retryable, mendable, ...(retryAfterMs !== undefined && { retryAfterMs }) }
}

const unimplemented = (action: string) => () => {
  throw new Error(`requestMachine action '${action}' has no implementation: call requestMachine.provide({ actions })`)
}

const machineSetup = setup({
  types: {
    input: {} as RequestInput,
    context: {} as RequestContext,
    events: {} as RequestEvent,
    output: {} as RequestOutput,
  },
  actions: {
    /** Joins the dispatcher's waiters. */
    requestToken: unimplemented('requestToken'),
    /** Leaves the dispatcher's waiters. */
    withdrawToken: unimplemented('withdrawToken'),
    /** Starts the provider call under the grant just received. */
    startCall: unimplemented('startCall'),
    /** Cuts the running call; its slot goes back once the socket is closed. */
    abortCall: unimplemented('abortCall'),
    /** Arms the backoff timer. No slot and no token is held meanwhile. */
    startBackoff: unimplemented('startBackoff'),
    stopBackoff: unimplemented('stopBackoff'),
    /** Tries stale cache, then fallback pools, then the degraded message. */
    startDegrading: unimplemented('startDegrading'),
    stopDegrading: unimplemented('stopDegrading'),

    countAttempt: assign({ attempt: ({ context }) => context.attempt + 1 }),
    uncountAttempt: assign({ attempt: ({ context }) => context.attempt - 1 }),
    noteFailure: assign({
      failure: ({ context, event }) => ('failure' in event ? bare(event.failure) : context.failure),
    }),
    noteReason: assign((_, params: { reason: DegradeReason }) => ({ degradeReason: params.reason })),
    noteVia: assign({
      via: ({ context, event }) => ('via' in event ? event.via : context.via),
    }),
    finish: assign((_, params: { status: OutcomeStatus }) => ({ status: params.status })),
  },
  guards: {
    failureIsUnmendable: ({ event }) => event.type === 'CALL_FAILED' && !event.failure.mendable,
    mayRetry: ({ context, event }) =>
      event.type === 'CALL_FAILED' &&
      event.failure.retryable &&
      context.attempt < context.maxAttempts &&
      !event.overBudget,
    budgetIsSpent: ({ event }) => event.type === 'CALL_FAILED' && event.failure.retryable && event.overBudget === true,
    failureIsRetryable: ({ event }) => event.type === 'CALL_FAILED' && event.failure.retryable,
    deadlinePassed: ({ context }) => context.degradeReason === 'deadline',
  },
})

const cancelled = { target: 'done', actions: { type: 'finish', params: { status: 'cancelled' } } } as const
const overdue = { target: 'degraded', actions: { type: 'noteReason', params: { reason: 'deadline' } } } as const

/**
 * One LLM request from its place in the queue to its outcome. Exactly six states; `done` is the only final one.
 * The machine is pure: it names effects, `src/request` provides them once for all requests.
 */
export const requestMachine = machineSetup.createMachine({
  id: 'request',
  context: ({ input }) => newRequestContext(input),
  initial: 'queued',
  states: {
    queued: {
      on: {
        ADMITTED: 'waiting-for-token',
        ANSWER_KNOWN: {
          target: 'done',
          actions: ['noteVia', { type: 'finish', params: { status: 'completed' } }],
        },
        CANCEL: cancelled,
        DEADLINE: overdue,
      },
    },
    'waiting-for-token': {
      entry: 'requestToken',
      exit: 'withdrawToken',
      on: {
        TOKEN_GRANTED: { target: 'calling', actions: 'countAttempt' },
        TOKEN_REFUSED: {
          target: 'degraded',
          actions: ['noteFailure', { type: 'noteReason', params: { reason: 'refused' } }],
        },
        CANCEL: cancelled,
        DEADLINE: overdue,
      },
    },
    calling: {
      entry: 'startCall',
      exit: 'abortCall',
      on: {
        CALL_COMPLETED: { target: 'done', actions: { type: 'finish', params: { status: 'completed' } } },
        TOKEN_VOID: { target: 'waiting-for-token', actions: 'uncountAttempt' },
        CALL_FAILED: [
          {
            guard: 'failureIsUnmendable',
            target: 'done',
            actions: ['noteFailure', { type: 'finish', params: { status: 'failed' } }],
          },
          { guard: 'mayRetry', target: 'backing-off', actions: 'noteFailure' },
          {
            guard: 'budgetIsSpent',
            target: 'degraded',
            actions: ['noteFailure', { type: 'noteReason', params: { reason: 'budget' } }],
          },
          {
            guard: 'failureIsRetryable',
            target: 'degraded',
            actions: ['noteFailure', { type: 'noteReason', params: { reason: 'attempts' } }],
          },
          { target: 'degraded', actions: ['noteFailure', { type: 'noteReason', params: { reason: 'refused' } }] },
        ],
        CANCEL: cancelled,
        DEADLINE: overdue,
      },
    },
    'backing-off': {
      entry: 'startBackoff',
      exit: 'stopBackoff',
      // No retry skips the dispatcher: the only way back to calling is through waiting-for-token.
      on: { BACKOFF_ELAPSED: 'waiting-for-token', CANCEL: cancelled, DEADLINE: overdue },
    },
    degraded: {
      entry: 'startDegrading',
      exit: 'stopDegrading',
      on: {
        DEGRADE_SERVED: {
          target: 'done',
          actions: ['noteVia', { type: 'finish', params: { status: 'degraded' } }],
        },
        DEGRADE_EXHAUSTED: [
          {
            guard: 'deadlinePassed',
            target: 'done',
            actions: { type: 'finish', params: { status: 'expired' } },
          },
          { target: 'done', actions: { type: 'finish', params: { status: 'failed' } } },
        ],
        CANCEL: cancelled,
      },
    },
    done: { type: 'final' },
  },
  output: ({ context }) => requestOutputOf(context),
})

/** What a request in `done` ends with. */
export function requestOutputOf(context: RequestContext): RequestOutput {
  return {
    status: context.status ?? 'failed',
    attempts: context.attempt,
    code: outcomeCode(context),
    degradeReason: context.degradeReason,
    via: context.via,
  }
}

function outcomeCode({ status, degradeReason, failure }: RequestContext): ErrorCode | undefined {
  if (status === 'completed') return undefined
  if (status === 'cancelled') return 'CANCELLED'
  if (degradeReason === 'deadline') return 'DEADLINE_EXCEEDED'
  return failure?.code
}
