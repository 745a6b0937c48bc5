import { getInitialSnapshot, type SnapshotFrom } from 'xstate'
import { newRequestContext, type RequestInput, type requestMachine } from '../../machines/request-machine.js'

type Machine = typeof requestMachine

const NOBODY: RequestInput = { requestId: '', pool: '', tenant: '', maxAttempts: 1 }

/**
 * The same machine, whose first snapshot is worked out once: XState would enter the first state anew for each actor, and of
 * all that is the same but the context. (Whoever inspects sees no difference: no action and no microstep is part of it.)
 */
export function withKnownStart(machine: Machine): Machine {
  const known: Machine = Object.create(machine, {
    getInitialSnapshot: {
      value: (_: unknown, input: RequestInput): SnapshotFrom<Machine> => ({
        ...first,
        context: newRequestContext(input),
      }),
    },
  })
  const first = { ...getInitialSnapshot(machine, NOBODY), machine: known }
  return known
}
