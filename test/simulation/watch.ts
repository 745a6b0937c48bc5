import type { Grant, GrantEnd, TokenRequest } from '../../src/dispatch/grant.js'
import type { ControlChange, Exchange, ExchangeReply } from '../../src/limits/store.js'
import type { Outcome } from '../../src/request/request.js'
import type { FaultPlan, RequestPlan } from './plan.js'
import type { Call } from './provider.js'
import type { SimProcess } from './sim-process.js'
import type { World } from './world.js'

/** What an invariant's checker may look at. Every hook is called at the instant it tells of. */
export interface Checker {
  /** Number and name in DESIGN section 5. */
  readonly invariant: number
  readonly name: string
  accepted?(process: SimProcess, request: RequestPlan): void
  /** A request joined the waiters; `tokenRequest` is what the dispatcher was asked. */
  waits?(process: SimProcess, request: RequestPlan, tokenRequest: TokenRequest): void
  withdrawn?(process: SimProcess, request: RequestPlan): void
  granted?(process: SimProcess, request: RequestPlan, grant: Grant): void
  refused?(process: SimProcess, request: RequestPlan): void
  /** The dispatcher said that the grant may be sent. */
  mayBeSent?(process: SimProcess, request: RequestPlan, grant: Grant): void
  /** A call was written. */
  sent?(process: SimProcess, call: Call): void
  settled?(process: SimProcess, request: RequestPlan, grant: Grant, end: GrantEnd): void
  done?(process: SimProcess, request: RequestPlan, outcome: Outcome): void
  arrived?(call: Call, refused: boolean): void
  over?(call: Call): void
  counted?(call: Call, delta: number): void
  /** The store applied an exchange. */
  applied?(exchange: Exchange, reply: ExchangeReply): void
  controlled?(change: ControlChange): void
  /** A reply reached its process. */
  replied?(process: SimProcess, exchange: Exchange, reply: ExchangeReply): void
  fault?(fault: FaultPlan, begins: boolean): void
  crashed?(process: SimProcess): void
  /** Regularly. */
  sample?(): void
  /** When everything is done and all windows have passed. */
  atRest?(): void | Promise<void>
}

export type NewChecker = (world: World) => Checker

export interface Violation {
  readonly invariant: number
  readonly name: string
  readonly atMs: number
  readonly message: string
}
