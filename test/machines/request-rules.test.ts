import { describe, expect, it } from 'vitest'
import { type ActorRefFrom, createActor } from 'xstate'
import {
  type ErrorCode,
  type Failure,
  REQUEST_STATES,
  type RequestEvent,
  type requestMachine,
} from '../../machines/index.js'
import { muteFinalStateWarnings } from './harness.js'
import { createRig, events, HANDLED, input, refused, retryable } from './request-rig.js'

const UNMENDABLE: ErrorCode[] = ['AUTH', 'BAD_REQUEST', 'CONTENT_FILTERED', 'CONTEXT_TOO_LONG']

/** Sends the events one by one on a fresh actor. */
function walk(maxAttempts: number, ...steps: RequestEvent[]) {
  const rig = createRig()
  const actor: ActorRefFrom<typeof requestMachine> = createActor(rig.machine, {
    clock: rig.clock,
    input: input(maxAttempts),
  })
  const errors: unknown[] = []
  actor.subscribe({ error: (error) => errors.push(error) })
  actor.start()
  for (const event of steps) actor.send(event)
  expect(errors).toEqual([])
  return { ...rig, actor, snapshot: actor.getSnapshot() }
}

const admitted: RequestEvent = { type: 'ADMITTED' }
const granted: RequestEvent = { type: 'TOKEN_GRANTED' }
const elapsed: RequestEvent = { type: 'BACKOFF_ELAPSED' }
const failedWith = (failure: Failure): RequestEvent => ({ type: 'CALL_FAILED', failure })

/** A shortest way into each state. */
const WAY_TO: Record<(typeof REQUEST_STATES)[number], RequestEvent[]> = {
  queued: [],
  'waiting-for-token': [admitted],
  calling: [admitted, granted],
  'backing-off': [admitted, granted, failedWith(retryable)],
  degraded: [{ type: 'DEADLINE' }],
  done: [{ type: 'CANCEL' }],
}

describe('requestMachine: rules', () => {
  it.each(REQUEST_STATES)('%s is left unchanged by events that are not for it', (state) => {
    const foreign = events.filter(({ type }) => !HANDLED[state].includes(type))
    expect(foreign.length).toBeGreaterThan(0)
    muteFinalStateWarnings()
    for (const event of foreign) {
      const { actor, effects, snapshot } = walk(3, ...WAY_TO[state])
      expect(snapshot.value).toBe(state)
      const before = [...effects]
      actor.send(event)
      const after = actor.getSnapshot()
      expect([after.value, after.status, effects], event.type).toEqual([state, snapshot.status, before])
      expect(after.context).toEqual(snapshot.context)
      expect(after.output).toEqual(snapshot.output)
    }
  })

  it.each(UNMENDABLE)('%s ends the request at once, whatever attempts remain', (code) => {
    const failure: Failure = { code, retryable: false, mendable: false }
    const { snapshot, effects } = walk(6, admitted, granted, failedWith(failure))
    expect(snapshot.output).toEqual({
      status: 'failed',
      attempts: 1,
      code,
      degradeReason: undefined,
      via: undefined,
    })
    expect(effects).toEqual(['requestToken', 'withdrawToken', 'startCall', 'abortCall'])
  })

  it('no retry mends what can’t be mended, even when the failure claims to be retryable', () => {
    const { snapshot } = walk(6, admitted, granted, failedWith({ code: 'AUTH', retryable: true, mendable: false }))
    expect([snapshot.value, snapshot.output?.status]).toEqual(['done', 'failed'])
  })

  it.each([1, 2, 6])('starts %i calls and no more, then degrades for lack of attempts', (maxAttempts) => {
    const round = [granted, failedWith(retryable), elapsed]
    const { snapshot, effects } = walk(
      maxAttempts,
      admitted,
      ...Array.from({ length: maxAttempts + 3 }, () => round).flat(),
    )
    expect(effects.filter((effect) => effect === 'startCall')).toHaveLength(maxAttempts)
    expect(snapshot.value).toBe('degraded')
    expect(snapshot.context).toMatchObject({ attempt: maxAttempts, degradeReason: 'attempts', failure: retryable })
  })

  it('counts no attempt for a token that ran out before anything was sent', () => {
    const { snapshot } = walk(1, admitted, granted, { type: 'TOKEN_VOID' }, granted, { type: 'CALL_COMPLETED' })
    expect(snapshot.output).toMatchObject({ status: 'completed', attempts: 1 })
  })

  it('tells apart why it degraded', () => {
    const reason = (...steps: RequestEvent[]) => walk(2, ...steps).snapshot.context.degradeReason
    expect(reason({ type: 'DEADLINE' })).toBe('deadline')
    expect(reason(admitted, { type: 'TOKEN_REFUSED', failure: refused })).toBe('refused')
    expect(reason(admitted, granted, failedWith(refused))).toBe('refused')
    expect(reason(admitted, granted, failedWith(retryable), elapsed, granted, failedWith(retryable))).toBe('attempts')
    expect(reason(admitted, granted, { ...failedWith(retryable), overBudget: true } as RequestEvent)).toBe('budget')
  })

  it('without anything to degrade to, a deadline expires and all else fails with its code', () => {
    const exhausted: RequestEvent = { type: 'DEGRADE_EXHAUSTED' }
    expect(walk(2, { type: 'DEADLINE' }, exhausted).snapshot.output).toMatchObject({
      status: 'expired',
      code: 'DEADLINE_EXCEEDED',
    })
    expect(walk(2, admitted, { type: 'TOKEN_REFUSED', failure: refused }, exhausted).snapshot.output).toMatchObject({
      status: 'failed',
      code: 'INSUFFICIENT_BALANCE',
    })
  })

  it.each(['cache', 'fallback', 'message'] as const)('says that the answer came via %s', (via) => {
    const { snapshot } = walk(2, { type: 'DEADLINE' }, { type: 'DEGRADE_SERVED', via })
    expect(snapshot.output).toMatchObject({ status: 'degraded', via })
  })

  it('completes with an answer that is known, before anybody is asked', () => {
    const { snapshot, effects } = walk(2, { type: 'ANSWER_KNOWN', via: 'cache' })
    expect(snapshot.output).toMatchObject({ status: 'completed', attempts: 0, via: 'cache', code: undefined })
    expect(effects).toEqual([])
  })

  it('keeps no payload in its context, even when events carry one', () => {
    const smuggled = { messages: ['secret prompt'], response: 'secret answer', chunk: 'secret' }
    const keys = ['attempt', 'degradeReason', 'failure', 'maxAttempts', 'pool', 'requestId', 'status', 'tenant', 'via']
    for (const way of Object.values(WAY_TO)) {
      const { snapshot } = walk(3, ...way.map((event) => ({ ...event, ...smuggled })))
      expect(Object.keys(snapshot.context).sort()).toEqual(keys)
      expect(JSON.stringify(snapshot)).not.toContain('secret')
    }
    const full = [admitted, granted, { type: 'CALL_COMPLETED' } as const].map((event) => ({ ...event, ...smuggled }))
    expect(JSON.stringify(walk(3, ...full).snapshot)).not.toContain('secret')
  })

  it('keeps no payload that the producer’s input carries', () => {
    const fat = { ...input(3), messages: ['secret prompt'] }
    const actor = createActor(createRig().machine, { input: fat }).start()
    expect(JSON.stringify(actor.getSnapshot())).not.toContain('secret')
    expect(actor.getSnapshot().value).toBe('queued')
  })

  it('keeps no payload that a failure carries', () => {
    const fat = { ...retryable, message: 'secret provider text', cause: { body: 'secret body' } }
    const { snapshot } = walk(3, admitted, granted, failedWith(fat))
    expect(snapshot.context.failure).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 1000 })
    expect(JSON.stringify(snapshot)).not.toContain('secret')
  })
})
