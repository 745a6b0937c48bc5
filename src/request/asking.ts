import type { RequestEvent } from '../../machines/request-machine.js'
import type { Clock } from '../clock.js'
import type { Grant } from '../dispatch/grant.js'
import { type Entry, NO_WAITS, type RequestSpec } from './entry.js'
import { Wait, type WaitEnds } from './wait.js'

/** Who has not been granted by then waits in the other pools' lines too. */
const ELSEWHERE_AFTER_MS = 50

/**
 * Asks for permission to call: in the pool with the shortest wait; when that takes time, in every other pool that serves
 * the model as well. The first grant takes the request, and it leaves the other lines.
 */
export class Asking {
  readonly #ends: WaitEnds = {
    granted: (wait, grant) => this.#granted(wait, grant),
    refused: (wait, limitId, max) => this.#refused(wait, limitId, max),
  }

  constructor(
    private readonly clock: Clock,
    private readonly send: (entry: Entry, event: RequestEvent) => void,
  ) {}

  begin(entry: Entry): void {
    const { detours } = entry.spec
    // Who comes back with a void grant keeps its place in that line.
    if (detours && !entry.comeBack) entry.spec = detours.best() ?? entry.spec
    if (detours) entry.elsewhereTimer = this.clock.setTimeout(() => this.#askElsewhere(entry), ELSEWHERE_AFTER_MS)
    this.#ask(entry, entry.spec)
  }

  end(entry: Entry): void {
    this.clock.clearTimeout(entry.elsewhereTimer)
    const { waits } = entry
    entry.waits = NO_WAITS
    for (const wait of waits) wait.spec.pool.permits.withdraw(wait)
  }

  #askElsewhere(entry: Entry): void {
    this.clock.clearTimeout(entry.elsewhereTimer)
    for (const spec of entry.spec.detours?.others(entry.spec) ?? []) this.#ask(entry, spec)
  }

  #ask(entry: Entry, spec: RequestSpec): void {
    const back = spec === entry.spec ? entry.comeBack : undefined
    const wait = new Wait(entry, spec, this.#ends, back?.sinceMs ?? this.clock.now(), back?.order ?? 0)
    // Almost always the only one, and an array that grows takes room for 16 more.
    entry.waits = entry.waits.length === 0 ? [wait] : [...entry.waits, wait]
    spec.pool.permits.request(wait)
  }

  #granted(wait: Wait, grant: Grant): void {
    const { entry, spec } = wait
    this.#leave(wait)
    if (spec.detours && !spec.detours.take(spec)) {
      spec.pool.permits.settle(grant, { unsent: true })
      if (entry.waits.length === 0) this.#askElsewhere(entry)
      return
    }
    entry.comeBack = wait
    entry.spec = spec
    entry.grant = grant
    this.send(entry, { type: 'TOKEN_GRANTED' })
  }

  #refused(wait: Wait, limitId: string, max: number): void {
    const { entry, spec } = wait
    this.#leave(wait)
    const message = `the request costs more than ${limitId} allows: at most ${max}`
    entry.failure = { class: 'BAD', code: 'BAD_REQUEST', retryable: false, mendable: false, message }
    // Another pool may allow it.
    spec.detours?.bar(spec)
    if (entry.waits.length === 0) this.#askElsewhere(entry)
    if (entry.waits.length === 0) this.send(entry, { type: 'TOKEN_REFUSED', failure: entry.failure })
  }

  /** This line is over; the others are left with the state. */
  #leave(wait: Wait): void {
    const { entry } = wait
    entry.waits = entry.waits.length === 1 ? NO_WAITS : entry.waits.filter((other) => other !== wait)
  }
}
