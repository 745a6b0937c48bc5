import { createActor, type InspectionEvent } from 'xstate'
import { expect, test } from 'vitest'
import { requestMachine } from '../../machines/request-machine.js'
import { withKnownStart } from '../../src/request/first-snapshot.js'

const INPUT = { requestId: 'r1', pool: 'p', tenant: 't', maxAttempts: 3 }
const NOTHING = () => {}
const EFFECTS = ['requestToken', 'withdrawToken', 'startCall', 'abortCall'] as const
const machine = requestMachine.provide({ actions: Object.fromEntries(EFFECTS.map((name) => [name, NOTHING])) })

/** All that an actor of this machine shows, from its start to its end. */
function lifeOf(its: typeof requestMachine) {
  const inspected: object[] = []
  const inspect = (seen: InspectionEvent) => {
    const { type, actorRef: _, ...more } = seen
    const { value, status, context } = ('snapshot' in more ? more.snapshot : {}) as Record<string, unknown>
    inspected.push({ type, event: 'event' in more ? more.event : undefined, value, status, context })
  }
  const actor = createActor(its, { id: 'r1', input: INPUT, inspect })
  const snapshots = [actor.getSnapshot()]
  actor.subscribe((snapshot) => snapshots.push(snapshot))
  actor.start()
  for (const type of ['ADMITTED', 'TOKEN_GRANTED', 'CALL_COMPLETED'] as const) actor.send({ type })
  return {
    inspected,
    snapshots: snapshots.map((snapshot) => snapshot.toJSON()),
    tokens: snapshots.map((snapshot) => snapshot.can({ type: 'TOKEN_GRANTED' })),
    matches: snapshots.map((snapshot) => snapshot.matches('queued')),
    machines: snapshots.map((snapshot) => snapshot.machine === actor.logic),
    output: actor.getSnapshot().output,
  }
}

test('an actor that starts from the known snapshot lives as any other', () => {
  const life = lifeOf(withKnownStart(machine))
  expect(life).toEqual(lifeOf(machine))
  expect(life.output).toMatchObject({ status: 'completed', attempts: 1 })
  expect(life.inspected.length).toBeGreaterThan(10)
})

test('contexts are each request’s own', () => {
  const its = withKnownStart(machine)
  const [one, other] = ['a', 'b'].map((requestId) => createActor(its, { input: { ...INPUT, requestId } }).start())
  one!.send({ type: 'ADMITTED' })
  one!.send({ type: 'TOKEN_GRANTED' })
  expect(one!.getSnapshot().context).toMatchObject({ requestId: 'a', attempt: 1 })
  expect(other!.getSnapshot()).toMatchObject({ value: 'queued', context: { requestId: 'b', attempt: 0 } })
})
