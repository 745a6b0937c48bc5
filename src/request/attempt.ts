import type { Grant } from '../dispatch/grant.js'
import type { ResponseHead } from '../providers/provider.js'
import { Cut } from './cut.js'
import type { BeginNote } from './degrading.js'
import { type Entry, internalEnd, type RequestSpec } from './entry.js'
import type { LeftCall } from './request.js'
import type { CallContext, CallEnd } from './work.js'

/** Where an attempt's news is told. */
export interface AttemptEnds {
  readonly begin: (entry: Entry, note: BeginNote) => void
  readonly ended: (attempt: Attempt, end: CallEnd) => void
}

/** One call of a request under its grant, as its work sees it. */
export class Attempt implements CallContext {
  readonly cut = new Cut()
  readonly spec: RequestSpec
  readonly attempt: number
  #end: Promise<CallEnd> | undefined = undefined

  constructor(
    readonly entry: Entry,
    readonly grant: Grant,
    private readonly ends: AttemptEnds,
  ) {
    this.spec = entry.spec
    this.attempt = entry.attempt
  }

  get requestId(): string {
    return this.spec.id
  }

  get callTimeoutMs(): number {
    return this.spec.pool.config.callTimeoutMs
  }

  maySend(): boolean {
    return this.spec.pool.permits.maySend(this.grant)
  }

  begin(head: ResponseHead): void {
    if (this.entry.call === this) this.ends.begin(this.entry, { head })
  }

  start(): void {
    this.#end = this.spec.work.call(this)
    this.#end.then(
      (end) => this.ends.ended(this, end),
      (error) => this.ends.ended(this, internalEnd(error)),
    )
  }

  /** The request leaves it while it runs: it is cut, unless others want what comes of it. */
  leave(): void {
    const { entry, cut } = this
    const end = this.#end?.catch(internalEnd)
    const call: LeftCall | undefined = end && { end, cut: () => cut.make() }
    if (!(call && entry.onLeave(call))) cut.make()
  }
}
