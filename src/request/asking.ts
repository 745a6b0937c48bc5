import type { RequestEvent } from '../../machines/request-machine.js'
import type { Clock } from '../clock.js'
import type { TokenRequest } from '../dispatch/grant.js'
import type { Entry, RequestSpec } from './entry.js'

/** Who has not been granted by then waits in the other pools' lines too. */
const ELSEWHERE_AFTER_MS = 50

/**
 * Asks for permission to call: in the pool with the shortest wait; when that takes time, in every other pool that serves
 * the model as well. The first grant takes the request, and it leaves the other lines.
 */
export class Asking {
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
    for (const { spec, request } of entry.asks.splice(0)) spec.pool.permits.withdraw(request)
  }

  #askElsewhere(entry: Entry): void {
    this.clock.clearTimeout(entry.elsewhereTimer)
    for (const spec of entry.spec.detours?.others(entry.spec) ?? []) this.#ask(entry, spec)
  }

  #ask(entry: Entry, spec: RequestSpec): void {
    const request: TokenRequest = {
      pool: spec.pool.plan.index,
      flowKey: spec.flowKey,
      tenant: spec.tenant,
      tenantWeight: spec.tenantWeight,
      classWeight: spec.classWeight,
      draws: spec.draws,
      tokens: spec.estimatedTokens,
      sinceMs: this.clock.now(),
      callTimeoutMs: spec.pool.config.callTimeoutMs,
      ...(spec === entry.spec && entry.comeBack),
      onGrant: (grant) => {
        this.#leave(entry, request)
        if (spec.detours && !spec.detours.take(spec)) {
          spec.pool.permits.settle(grant, { unsent: true })
          if (entry.asks.length === 0) this.#askElsewhere(entry)
          return
        }
        const { order, sinceMs } = request
        entry.comeBack = { ...(order !== undefined && { order }), sinceMs }
        entry.spec = spec
        entry.grant = grant
        this.send(entry, { type: 'TOKEN_GRANTED' })
      },
      onRefused: (limitId, max) => {
        this.#leave(entry, request)
        const message = `the request costs more than ${limitId} allows: at most ${max}`
        entry.failure = { class: 'BAD', code: 'BAD_REQUEST', retryable: false, mendable: false, message }
        // Another pool may allow it.
        spec.detours?.bar(spec)
        if (entry.asks.length === 0) this.#askElsewhere(entry)
        if (entry.asks.length === 0) this.send(entry, { type: 'TOKEN_REFUSED', failure: entry.failure })
      },
    }
    entry.asks.push({ spec, request })
    spec.pool.permits.request(request)
  }

  /** This line is over; the others are left with the state. */
  #leave(entry: Entry, request: TokenRequest): void {
    const index = entry.asks.findIndex((ask) => ask.request === request)
    if (index >= 0) entry.asks.splice(index, 1)
  }
}
