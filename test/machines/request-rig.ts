import {
  type Failure,
  type REQUEST_STATES,
  type RequestEvent,
  type RequestInput,
  requestMachine,
} from '../../machines/index.js'
import type { TimerHandle } from '../../src/clock.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

export const BACKOFF_MS = 500
export const retryable: Failure = { code: 'RATE_LIMITED', retryable: true, mendable: true, retryAfterMs: 1000 }
export const refused: Failure = { code: 'INSUFFICIENT_BALANCE', retryable: false, mendable: true }
const unmendable: Failure = { code: 'BAD_REQUEST', retryable: false, mendable: false }

export const events: RequestEvent[] = [
  { type: 'ADMITTED' },
  { type: 'ANSWER_KNOWN', via: 'cache' },
  { type: 'TOKEN_GRANTED' },
  { type: 'TOKEN_VOID' },
  { type: 'TOKEN_REFUSED', failure: refused },
  { type: 'CALL_COMPLETED' },
  { type: 'CALL_FAILED', failure: retryable },
  { type: 'CALL_FAILED', failure: refused },
  { type: 'CALL_FAILED', failure: unmendable },
  { type: 'BACKOFF_ELAPSED' },
  { type: 'DEADLINE' },
  { type: 'CANCEL' },
  { type: 'DEGRADE_SERVED', via: 'fallback' },
  { type: 'DEGRADE_EXHAUSTED' },
]

/** What each state listens to, written down apart from the machine. */
export const HANDLED: Record<(typeof REQUEST_STATES)[number], RequestEvent['type'][]> = {
  queued: ['ADMITTED', 'ANSWER_KNOWN', 'CANCEL', 'DEADLINE'],
  'waiting-for-token': ['TOKEN_GRANTED', 'TOKEN_REFUSED', 'CANCEL', 'DEADLINE'],
  calling: ['CALL_COMPLETED', 'CALL_FAILED', 'TOKEN_VOID', 'CANCEL', 'DEADLINE'],
  'backing-off': ['BACKOFF_ELAPSED', 'CANCEL', 'DEADLINE'],
  degraded: ['DEGRADE_SERVED', 'DEGRADE_EXHAUSTED', 'CANCEL'],
  done: [],
}

export const input = (maxAttempts: number): RequestInput => ({
  requestId: 'r1',
  pool: 'glm',
  tenant: 'web',
  maxAttempts,
})

/** One clock and one `provide`, as in production; effects are recorded in order and backoff runs on the clock. */
export function createRig() {
  const clock = new VirtualClock()
  const effects: string[] = []
  let timer: TimerHandle
  const record = (name: string) => () => void effects.push(name)
  const machine = requestMachine.provide({
    actions: {
      requestToken: record('requestToken'),
      withdrawToken: record('withdrawToken'),
      startCall: record('startCall'),
      abortCall: record('abortCall'),
      startBackoff: ({ self }) => {
        effects.push('startBackoff')
        timer = clock.setTimeout(() => self.send({ type: 'BACKOFF_ELAPSED' }), BACKOFF_MS)
      },
      stopBackoff: () => {
        effects.push('stopBackoff')
        clock.clearTimeout(timer)
      },
      startDegrading: record('startDegrading'),
      stopDegrading: record('stopDegrading'),
    },
  })
  return { clock, effects, machine }
}
