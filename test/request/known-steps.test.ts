import fc from 'fast-check'
import { createActor, type InspectionEvent } from 'xstate'
import { expect, test } from 'vitest'
import { type RequestEvent, type RequestInput, requestMachine } from '../../machines/request-machine.js'
import { withKnownSteps } from '../../src/request/known-steps.js'

const INPUT = { requestId: 'r1', pool: 'p', tenant: 't', maxAttempts: 3 }
const EFFECTS = [
  ...(['requestToken', 'withdrawToken', 'startCall', 'abortCall'] as const),
  ...(['startBackoff', 'stopBackoff', 'startDegrading', 'stopDegrading'] as const),
]
const SMOOTH: RequestEvent[] = [{ type: 'ADMITTED' }, { type: 'TOKEN_GRANTED' }, { type: 'CALL_COMPLETED' }]

const failure = fc.record({
  code: fc.constantFrom('OVERLOADED', 'BAD_REQUEST'),
  retryable: fc.boolean(),
  mendable: fc.boolean(),
})
const event: fc.Arbitrary<RequestEvent> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...SMOOTH) },
  fc.constantFrom<RequestEvent>(
    ...[{ type: 'TOKEN_VOID' } as const, { type: 'BACKOFF_ELAPSED' } as const, { type: 'DEADLINE' } as const],
    ...[{ type: 'CANCEL' } as const, { type: 'DEGRADE_EXHAUSTED' } as const],
    ...[{ type: 'ANSWER_KNOWN', via: 'cache' } as const, { type: 'DEGRADE_SERVED', via: 'fallback' } as const],
  ),
  failure.map((failure) => ({ type: 'CALL_FAILED', failure }) as RequestEvent),
  failure.map((failure) => ({ type: 'TOKEN_REFUSED', failure }) as RequestEvent),
)

/** All that an actor of such a machine does and shows, from its start to its end; `crashAt` breaks one of its effects. */
function lifeOf(
  make: (its: typeof requestMachine) => typeof requestMachine,
  input: RequestInput,
  events: RequestEvent[],
  crashAt?: string,
) {
  const told: unknown[] = []
  const effect = (name: string) => (info: Record<'context' | 'event' | 'self' | 'system', object>, params: unknown) => {
    const isOwn = info.self === actor && info.system === actor.system
    told.push([name, info.context, info.event, params, isOwn])
    if (name === crashAt) throw new Error(name)
  }
  const actions = Object.fromEntries(EFFECTS.map((name) => [name, effect(name)]))
  const inspect = ({ actorRef, rootId: _, ...seen }: InspectionEvent) => {
    // As texts: what they know beside that is a function each.
    told.push(JSON.stringify({ ...seen, snapshot: 'snapshot' in seen ? seen.snapshot : undefined }))
  }
  const machine = make(requestMachine.provide({ actions }))
  const actor = createActor(machine, { id: input.requestId, input, inspect })
  actor.subscribe({
    next: (snapshot) => {
      const { _nodes: nodes, tags, children, historyValue } = snapshot as typeof snapshot & { _nodes: { id: string }[] }
      told.push([snapshot.toJSON(), nodes.map(({ id }) => id), [...tags], children, historyValue])
      told.push(Object.keys(snapshot).sort(), snapshot.machine === machine, snapshot === actor.getSnapshot())
      told.push(
        SMOOTH.map((event) => snapshot.can(event)),
        snapshot.matches('calling'),
      )
    },
    error: (error) => told.push(String(error)),
    complete: () => told.push('complete'),
  })
  actor.start()
  for (const event of events) if (actor.getSnapshot().status === 'active') actor.send(event)
  told.push(actor.getSnapshot().status, actor.getSnapshot().output, actor.getPersistedSnapshot())
  return { told, actor }
}

test('whatever happens to a request, it lives as on the machine itself, to all who watch', () => {
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 12 }),
      fc.integer({ min: 1, max: 3 }),
      fc.option(fc.constantFrom(...EFFECTS), { nil: undefined, freq: 8 }),
      (events, maxAttempts, crashAt) => {
        const input = { ...INPUT, maxAttempts }
        const { told } = lifeOf(withKnownSteps, input, events, crashAt)
        expect(told).toEqual(lifeOf((machine) => machine, input, events, crashAt).told)
      },
    ),
    { numRuns: 200 },
  )
})

test('of the smooth way every effect and every step is told', () => {
  const { told, actor } = lifeOf(withKnownSteps, INPUT, SMOOTH)
  expect(told).toEqual(lifeOf((machine) => machine, INPUT, SMOOTH).told)
  expect(told.filter(Array.isArray).map(([name]) => name)).toEqual(
    expect.arrayContaining(['requestToken', 'withdrawToken', 'startCall', 'abortCall']),
  )
  expect(told.filter((one) => String(one).includes('@xstate.microstep'))).toHaveLength(3)
  expect(actor.getSnapshot().output).toMatchObject({ status: 'completed', attempts: 1 })
})

test('contexts are each request’s own', () => {
  const actions = Object.fromEntries(EFFECTS.map((name) => [name, () => {}]))
  const its = withKnownSteps(requestMachine.provide({ actions }))
  const [one, other] = ['a', 'b'].map((requestId) => createActor(its, { input: { ...INPUT, requestId } }).start())
  one!.send({ type: 'ADMITTED' })
  one!.send({ type: 'TOKEN_GRANTED' })
  expect(one!.getSnapshot().context).toMatchObject({ requestId: 'a', attempt: 1 })
  expect(other!.getSnapshot()).toMatchObject({ value: 'queued', context: { requestId: 'b', attempt: 0 } })
})
