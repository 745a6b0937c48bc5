import type { AnyStateMachine } from 'xstate'

export function layoutOf(machine: AnyStateMachine): Promise<object>
