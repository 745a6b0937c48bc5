import { HeadgateError } from './errors.js'
import type { Entering } from './intake/intake.js'
import type { Listening, Outcome, RunningRequest } from './request/request.js'

/** Who waits for the value and nothing else: one promise from the gate to the end, whatever lies between. */
export class Caller implements Entering, Listening {
  constructor(
    private readonly resolve: (value: unknown) => void,
    private readonly reject: (error: unknown) => void,
  ) {}

  entered(running: RunningRequest): void {
    running.listening = this
  }

  turnedAway(error: HeadgateError): void {
    this.reject(error)
  }

  ended(outcome: Outcome): void {
    try {
      this.resolve(unwrap(outcome))
    } catch (error) {
      this.reject(error)
    }
  }
}

/** The value of an outcome. Throws the error of one that has none. */
export function unwrap(outcome: Outcome): unknown {
  if (outcome.status === 'completed' || outcome.status === 'degraded') return outcome.value
  throw outcome.error ?? new HeadgateError('PROVIDER_ERROR', `the request ended as ${outcome.status}`)
}
