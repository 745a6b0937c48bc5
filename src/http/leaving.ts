import { Cut } from '../request/cut.js'

/** Made when a caller goes away who has no signal to tell it by: that would weigh more than all else of a request. */
export class HangUp extends Cut {}

export type Leaving = AbortSignal | HangUp

export function hasLeft(leaving: Leaving): boolean {
  return leaving instanceof HangUp ? leaving.isMade : leaving.aborted
}

/** For who takes nothing else. */
export function signalOf(leaving: Leaving): AbortSignal {
  return leaving instanceof HangUp ? leaving.signal : leaving
}
