import type { RequestEvent, RequestOutput } from '../../machines/request-machine.js'
import type { RequestState } from '../../machines/vocabulary.js'
import type { KnownAnswer } from '../answers/answer.js'
import type { TimerHandle } from '../clock.js'
import type { PoolConfig } from '../config.js'
import type { Grant } from '../dispatch/grant.js'
import type { Permits } from '../dispatch/shadow.js'
import { HeadgateError } from '../errors.js'
import type { AttemptFailedEvent, OutcomeEvent } from '../events.js'
import type { PoolPlan } from '../limits/plan.js'
import type { LimitSpec } from '../limits/store.js'
import { tokensCounted } from '../providers/charge.js'
import { failureOf, type ProviderFailure } from '../providers/provider.js'
import type { Attempt } from './attempt.js'
import { consequencesOf } from './consequences.js'
import type { Detour, Detours } from './detours.js'
import type { EventStream, StreamTarget } from './event-stream.js'
import type { GateRequest, LeftCall, Listening, Outcome, Seat } from './request.js'
import type { Wait } from './wait.js'
import type { CallEnd, Work } from './work.js'

/** What a request needs to know of its pool. */
export interface PoolRuntime {
  readonly config: PoolConfig
  readonly plan: PoolPlan
  /** Of its group. */
  readonly limits: readonly LimitSpec[]
  readonly permits: Permits
  /** Left of its cool-down, in ms; `Infinity` while an operator pauses it, 0 where nothing is delayed. */
  readonly coolDownMs: () => number
}

/** Starts the same request in another pool; undefined when that can't take it now. */
export type Fallback = (stream: StreamTarget | undefined) => GateRequest | undefined

export interface RequestSpec {
  readonly id: string
  readonly pool: PoolRuntime
  readonly tenant: string
  readonly flowKey: string
  readonly tenantWeight: number
  readonly classWeight: number
  readonly draws: readonly number[]
  readonly estimatedTokens: number
  readonly work: Work
  /** Where the answer goes bit by bit, if it is to. */
  readonly stream: StreamTarget | undefined
  /** The same, where it is this request's own to hand out. */
  readonly reader?: EventStream | undefined
  readonly model: string
  /** Local time at which the wait at the gate began. */
  readonly arrivedMs: number
  /** Local time; undefined for none. */
  readonly deadlineMs: number | undefined
  readonly signal: AbortSignal | undefined
  /** How long it would wait if it came now, in ms: for who comes too late. */
  waitMs?(): number
  /** How long a token is sure to take, in ms. */
  leastWaitMs?(): number
  /** Other pools that may answer before this one's message does, in the order in which they are asked. */
  readonly fallbacks?: readonly Fallback[] | undefined
  /** Finds an answer to the same question that is past its time. */
  readonly recall?: (() => Promise<KnownAnswer | undefined>) | undefined
  /** False: an error rather than any answer in place of the pool's. */
  readonly degrades?: boolean | undefined
  /** The request that this one stands in for. */
  readonly fallbackFor?: string | undefined
  /** The other pools that serve its model, if there are any. */
  readonly detours?: Detours
}

/** Numbers of an outcome that requests in other pools add to. */
type Spent = Pick<Outcome, 'attempts' | 'queuedMs' | 'waitedMs' | 'calledMs' | 'backedOffMs'>

/** Everything about one request that does not belong in its machine: payloads, timers, grant, times. */
export interface Entry {
  /** In the pool where it is called, or where the wait looks shortest. */
  spec: RequestSpec
  /** What was sent while another event was under way; most requests never need one. */
  inbox: RequestEvent[] | undefined
  readonly msIn: Record<RequestState, number>
  actor: GateRequest['actor']
  state: RequestState
  sinceMs: number
  /** As the machine counts: calls started. */
  attempt: number
  /** What its next attempt has to wait for the retry budget, in ms. */
  budgetMs: number
  /** Of the pool that the last transition told of. */
  toldPool: string
  /** Whether another pool may serve after the last failure. */
  detour: Detour | undefined
  event: string
  processing: boolean
  /** The lines in which it waits for a grant. */
  waits: readonly Wait[]
  elsewhereTimer: TimerHandle | undefined
  grant: Grant | undefined
  /** The wait that the running call's grant ended: should that be void, the request goes on waiting in its place. */
  comeBack: Pick<Wait, 'order' | 'sinceMs'> | undefined
  call: Attempt | undefined
  backoffTimer: TimerHandle | undefined
  deadlineTimer: TimerHandle | undefined
  failure: ProviderFailure | undefined
  value: unknown
  /** The value as the provider wrote it. */
  text: string | undefined
  httpStatus: number | undefined
  usage: Partial<Outcome['usage']> | undefined
  /** The request in another pool that stands in for this one now. */
  helper: GateRequest | undefined
  helped: Spent
  /** What broke an answer that another request had begun. */
  endedBy: HeadgateError | undefined
  /** Until it needs it no more. */
  seat: Seat | undefined
  /** Whether others want what comes of the call that it leaves. */
  onLeave: (call: LeftCall) => boolean
  /** On the signal it was spawned with. */
  onAbort: (() => void) | undefined
  /** Once it is done. */
  outcome: Outcome | undefined
  listening: Listening | undefined
  /** Of the outcome, once somebody asked for a promise of it. */
  promise: Promise<Outcome> | undefined
  resolve: ((outcome: Outcome) => void) | undefined
}

const letGo = () => false
/** Timers may be so early. */
const EARLY_MS = 1
export const NO_WAITS: readonly Wait[] = []
const NO_HELP: Spent = { attempts: 0, queuedMs: 0, waitedMs: 0, calledMs: 0, backedOffMs: 0 }

export function newEntry(spec: RequestSpec, actor: Entry['actor']): Entry {
  return {
    spec,
    actor,
    inbox: undefined,
    msIn: { queued: 0, 'waiting-for-token': 0, calling: 0, 'backing-off': 0, degraded: 0, done: 0 },
    state: 'queued',
    sinceMs: spec.arrivedMs,
    attempt: 0,
    budgetMs: 0,
    toldPool: spec.pool.config.name,
    detour: undefined,
    event: 'CANCEL',
    processing: false,
    waits: NO_WAITS,
    elsewhereTimer: undefined,
    grant: undefined,
    comeBack: undefined,
    call: undefined,
    backoffTimer: undefined,
    deadlineTimer: undefined,
    failure: undefined,
    value: undefined,
    text: undefined,
    httpStatus: undefined,
    usage: undefined,
    helper: undefined,
    helped: NO_HELP,
    endedBy: undefined,
    seat: undefined,
    onLeave: letGo,
    onAbort: undefined,
    outcome: undefined,
    listening: undefined,
    promise: undefined,
    resolve: undefined,
  }
}

/** Gives its place up, if it holds one still. */
export function leaveSeat(entry: Entry): void {
  const { seat } = entry
  entry.seat = undefined
  seat?.leave()
}

/** A promise of the outcome, made when it is first asked for: most are awaited by nobody, or heard by a listener. */
export function promiseOf(entry: Entry): Promise<Outcome> {
  entry.promise ??= new Promise((resolve) => {
    if (entry.outcome) resolve(entry.outcome)
    else entry.resolve = resolve
  })
  return entry.promise
}

/** Tells the outcome to all who wait for it. */
export function conclude(entry: Entry, outcome: Outcome): void {
  entry.outcome = outcome
  entry.resolve?.(outcome)
  entry.listening?.ended(outcome)
  if (entry.onAbort) entry.spec.signal?.removeEventListener('abort', entry.onAbort)
}

export function attemptFailed({ spec, attempt }: Entry, failure: ProviderFailure): AttemptFailedEvent {
  const { code, status, providerCode, message, cause } = failure
  const common = { requestId: spec.id, pool: spec.pool.config.name, attempt, code, status, providerCode }
  return { ...common, causeCode: causeCodeOf(cause), message }
}

/** The code of what went wrong below, e.g. `ECONNREFUSED`: a word that quotes nobody. */
function causeCodeOf(cause: unknown): string | undefined {
  let error = cause
  for (let depth = 0; depth < 4 && error instanceof Error; depth++) {
    const { code } = error as { code?: unknown }
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,40}$/.test(code)) return code
    error = error.cause
  }
  return undefined
}

/** A defect of ours, told as the failure of the attempt it ended. */
export function internalFailure(cause: unknown): ProviderFailure {
  return { ...failureOf('UNKNOWN', `internal error: ${String(cause)}`, { cause }), mendable: false }
}

export function internalEnd(error: unknown): CallEnd {
  return { type: 'failed', failure: internalFailure(error), sent: 'cut' }
}

/** The outcome of a request that is done. */
export function outcomeOf(entry: Entry, output: RequestOutput | undefined): Outcome {
  const { spec, msIn, helped } = entry
  const status = output?.status ?? 'failed'
  const answered = status === 'completed' || status === 'degraded'
  return {
    status,
    ...(answered && { value: entry.value }),
    ...(entry.httpStatus !== undefined && { httpStatus: entry.httpStatus }),
    ...(status !== 'completed' && { error: errorOf(entry, output) }),
    ...(output?.degradeReason && { reason: output.degradeReason }),
    ...(output?.via && { via: output.via }),
    usage: { estimatedTokens: spec.estimatedTokens, ...entry.usage },
    attempts: (output?.attempts ?? entry.attempt) + helped.attempts,
    queuedMs: msIn.queued + helped.queuedMs,
    waitedMs: msIn['waiting-for-token'] + helped.waitedMs,
    calledMs: msIn.calling + helped.calledMs,
    backedOffMs: msIn['backing-off'] + helped.backedOffMs,
  }
}

/** What is told of it: neither value nor message. */
export function outcomeEvent(spec: RequestSpec, outcome: Outcome): OutcomeEvent {
  const { config } = spec.pool
  const { status, reason, via, usage, attempts, queuedMs, waitedMs, calledMs, backedOffMs } = outcome
  const { estimatedTokens, promptTokens, completionTokens, totalTokens } = usage
  const told = promptTokens !== undefined && completionTokens !== undefined && totalTokens !== undefined
  const counted = told
    ? tokensCounted(config.provider, { promptTokens, completionTokens, totalTokens })
    : estimatedTokens
  // An answer that was known already took nothing.
  const completed = status === 'completed' && via === undefined
  // An answer that broke off took what it told, too.
  const took = completed || (told && via === undefined)
  const refunds = completed && config.provider.refundsEstimate
  return {
    requestId: spec.id,
    pool: config.name,
    tenant: spec.tenant,
    model: spec.model,
    provider: config.provider.name,
    api: spec.work.api,
    status,
    ...(reason && { reason }),
    via,
    ...(spec.fallbackFor !== undefined && { fallbackFor: spec.fallbackFor }),
    code: outcome.error?.code,
    httpStatus: outcome.httpStatus,
    estimatedTokens,
    usedTokens: took ? counted : 0,
    refundedTokens: refunds ? Math.max(0, estimatedTokens - counted) : 0,
    // The request in the fallback, or the one that is repeated, told of these itself.
    promptTokens: via === undefined ? promptTokens : undefined,
    completionTokens: via === undefined ? completionTokens : undefined,
    attempts,
    queuedMs,
    waitedMs,
    calledMs,
    backedOffMs,
  }
}

function errorOf(entry: Entry, output: RequestOutput | undefined): HeadgateError {
  const { failure, spec, endedBy } = entry
  const { name } = spec.pool.config
  const code = output?.code
  if (code === 'CANCELLED') return new HeadgateError('CANCELLED', 'the request was cancelled')
  if (endedBy) return endedBy
  // When to come back: as long as the pool pauses for it, or as the provider said.
  const retryAfterMs = failure && (consequencesOf(failure).coolDownMs || failure.retryAfterMs)
  const details = {
    ...(failure?.status !== undefined && { status: failure.status }),
    ...(failure?.providerCode !== undefined && { providerCode: failure.providerCode }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    cause: failure?.cause ?? failure?.body,
  }
  if (code === 'DEADLINE_EXCEEDED') {
    const last = failure ? `; the last attempt failed: ${failure.message}` : ''
    // It may know before.
    const passed = spec.deadlineMs === undefined || entry.sinceMs >= spec.deadlineMs - EARLY_MS
    const waitMs = Math.ceil(spec.waitMs?.() ?? Number.POSITIVE_INFINITY)
    const hint = Number.isFinite(waitMs) && { retryAfterMs: waitMs }
    return new HeadgateError(code, `pool ${name}: the deadline ${passed ? 'passed' : 'can’t be made'}${last}`, {
      ...hint,
      ...details,
      retryable: true,
    })
  }
  const said = failure?.message ?? 'the request failed'
  const message = output?.degradeReason === 'budget' ? `${said}; not retried: the gate's retry budget is spent` : said
  return new HeadgateError(code ?? failure?.code ?? 'PROVIDER_ERROR', message, {
    ...details,
    retryable: failure?.retryable ?? false,
  })
}
