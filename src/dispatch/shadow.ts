import type { Clock } from '../clock.js'
import type { Dispatcher } from './dispatcher.js'
import type { Grant, GrantEnd, TokenRequest } from './grant.js'

/** What a request needs of whoever grants. */
export type Permits = Pick<Dispatcher, 'request' | 'withdraw' | 'maySend' | 'settle'>

export interface ShadowCounts {
  readonly requests: number
  /** Requests that would have waited. */
  readonly delayed: number
  /** For how long in all, in ms, as far as is known. */
  readonly waitMs: number
}

interface Twin {
  readonly request: TokenRequest
  grant: Grant | undefined
}

/** A wait this short is the store's round trip, not a limit's. */
const NOTICEABLE_MS = 20

/**
 * Observes and never delays: a request goes at once, while a twin of it waits for the dispatcher's grant and holds it for
 * as long as the call lasts. So the limits fill as they would, and every wait that would have been is counted.
 */
export class Shadow implements Permits {
  readonly #twins = new Map<Grant, Twin>()
  #number = 0
  #counts = { requests: 0, delayed: 0, waitMs: 0 }

  constructor(
    private readonly dispatcher: Dispatcher,
    private readonly clock: Clock,
  ) {}

  get counts(): ShadowCounts {
    return { ...this.#counts }
  }

  request(request: TokenRequest): void {
    const { pool, tenant, tenantWeight, classWeight, flowKey, draws, tokens, sinceMs, callTimeoutMs } = request
    const nowMs = this.clock.now()
    const grant: Grant = {
      number: -++this.#number,
      pool,
      tenant,
      flowKey,
      draws,
      tokens,
      notBeforeMs: 0,
      sendByMs: Number.POSITIVE_INFINITY,
      serviceUs: 0,
      isolated: false,
      callTimeoutMs,
      boundAtMs: nowMs,
      state: 'unsent',
    }
    const twin: Twin = {
      grant: undefined,
      request: {
        line: undefined,
        cost: 0,
        at: 0,
        order: 0,
        ...{ pool, tenant, tenantWeight, classWeight, flowKey, draws, tokens, sinceMs, callTimeoutMs },
        onGrant: (granted) => {
          this.dispatcher.maySend(granted)
          twin.grant = granted
          this.#count(this.clock.now() - nowMs)
        },
        onRefused: () => {},
      },
    }
    this.#counts.requests++
    this.#twins.set(grant, twin)
    this.dispatcher.request(twin.request)
    request.onGrant(grant)
  }

  withdraw(): void {} // Whoever asks is granted at once: there is nothing to withdraw.

  maySend(grant: Grant): boolean {
    if (grant.state !== 'unsent') return false
    grant.state = 'sent'
    return true
  }

  settle(grant: Grant, end: GrantEnd): void {
    const twin = this.#twins.get(grant)
    if (!twin) return
    this.#twins.delete(grant)
    if (twin.grant) {
      this.dispatcher.settle(twin.grant, end)
      return
    }
    this.dispatcher.withdraw(twin.request)
    this.#count(this.clock.now() - grant.boundAtMs)
  }

  #count(waitMs: number): void {
    if (waitMs < NOTICEABLE_MS) return
    this.#counts.delayed++
    this.#counts.waitMs += waitMs
  }
}
