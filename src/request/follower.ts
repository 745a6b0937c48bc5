import type { SnapshotFrom } from 'xstate'
import type { requestMachine } from '../../machines/request-machine.js'
import type { Entry } from './entry.js'

/** Where a request's steps are told. */
export interface Heard {
  readonly step: (entry: Entry, snapshot: SnapshotFrom<typeof requestMachine>) => void
  readonly crash: (entry: Entry, error: unknown) => void
}

/** An actor's observer: XState binds its methods, so they need not be made anew for each. */
export class Follower {
  constructor(
    private readonly entry: Entry,
    private readonly heard: Heard,
  ) {}

  next(snapshot: SnapshotFrom<typeof requestMachine>): void {
    this.heard.step(this.entry, snapshot)
  }

  error(error: unknown): void {
    this.heard.crash(this.entry, error)
  }
}
