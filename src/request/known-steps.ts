import { type ActorScope, getInitialSnapshot, type InspectionEvent, type SnapshotFrom, transition } from 'xstate'
import {
  newRequestContext,
  type RequestContext,
  type RequestEvent,
  type RequestInput,
  type requestMachine,
  requestOutputOf,
} from '../../machines/request-machine.js'

type Machine = typeof requestMachine
type Snapshot = SnapshotFrom<Machine>
type Scope = ActorScope<Snapshot, RequestEvent>
type Action = Parameters<Scope['actionExecutor']>[0]

interface Step {
  readonly type: RequestEvent['type']
  readonly contextAfter: (context: RequestContext) => RequestContext
  readonly from: Snapshot['value']
  /** Of any request: all but the context is the same. */
  readonly after: Snapshot
  readonly effects: readonly (Pick<Action, 'type' | 'params' | 'exec'> & { readonly seesNew: boolean })[]
  readonly transitions: ReturnType<Machine['getTransitionData']>
}

const NOBODY: RequestInput = { requestId: '', pool: '', tenant: '', maxAttempts: 1 }

/** The way of a request that nothing goes wrong with, and what each step makes of its context. */
const SMOOTH: readonly Pick<Step, 'type' | 'contextAfter'>[] = [
  { type: 'ADMITTED', contextAfter: (context) => context },
  { type: 'TOKEN_GRANTED', contextAfter: (context) => ({ ...context, attempt: context.attempt + 1 }) },
  { type: 'CALL_COMPLETED', contextAfter: (context) => ({ ...context, status: 'completed' }) },
]

/**
 * The same machine, whose first snapshot and smooth steps XState works out once: it would look for their states and effects
 * anew for each request, and of all that it finds only the context differs. Every other step is XState's own. Whoever
 * subscribes or inspects sees no difference.
 */
export function withKnownSteps(machine: Machine): Machine {
  const steps = new Map<string, Step>()
  const known: Machine = Object.create(machine, {
    getInitialSnapshot: {
      value: (_: unknown, input: RequestInput): Snapshot => ({ ...first, context: newRequestContext(input) }),
    },
    transition: {
      value: (snapshot: Snapshot, event: RequestEvent, scope: Scope): Snapshot => {
        const step = steps.get(event.type)
        const isKnown = step?.from === snapshot.value && snapshot.status === 'active'
        return isKnown ? take(step, snapshot, event, scope) : machine.transition(snapshot, event, scope as never)
      },
    },
  })
  const first: Snapshot = { ...getInitialSnapshot(machine, NOBODY), machine: known }
  let before = first
  for (const { type, contextAfter } of SMOOTH) {
    const event = { type } as RequestEvent
    const { context } = before
    const [after, actions] = transition(machine, before, event)
    steps.set(type, {
      type,
      contextAfter,
      from: before.value,
      after,
      effects: actions.map(({ type, params, exec, info }) => {
        return { type, params, exec, seesNew: info.context !== context } as Step['effects'][number]
      }),
      transitions: machine.getTransitionData(before, event),
    })
    before = after
  }
  return known
}

function take(
  { contextAfter, after, effects, transitions }: Step,
  before: Snapshot,
  event: RequestEvent,
  scope: Scope,
) {
  const { self, system } = scope
  const context = contextAfter(before.context)
  for (const { type, params, exec, seesNew } of effects) {
    const info = { context: seesNew ? context : before.context, event, self, system }
    scope.actionExecutor({ type, params, exec, info } as unknown as Action)
  }
  const output = after.status === 'done' ? requestOutputOf(context) : undefined
  const snapshot = { ...after, context, output } as Snapshot
  const microstep = { type: '@xstate.microstep', actorRef: self, event, snapshot, _transitions: transitions }
  ;(system as unknown as Inspected)._sendInspectionEvent(microstep as never)
  return snapshot
}

/** Where XState tells those who inspect of what it does between two snapshots. */
interface Inspected {
  _sendInspectionEvent(event: Omit<InspectionEvent, 'rootId'>): void
}
