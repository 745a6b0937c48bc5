import type { Line } from '../dispatch/fair-queue.js'
import type { Grant, TokenRequest } from '../dispatch/grant.js'
import type { Entry, RequestSpec } from './entry.js'

/** Where a wait's end is told. */
export interface WaitEnds {
  granted(wait: Wait, grant: Grant): void
  refused(wait: Wait, limitId: string, max: number): void
}

/**
 * A request's wait for a grant in one pool. There may be hundreds of thousands: what the request and its pool know stays
 * where it is.
 */
export class Wait implements TokenRequest {
  line: Line<TokenRequest> | undefined = undefined
  cost = 0
  at = 0

  constructor(
    readonly entry: Entry,
    readonly spec: RequestSpec,
    private readonly ends: WaitEnds,
    readonly sinceMs: number,
    public order: number,
  ) {}

  get pool(): number {
    return this.spec.pool.plan.index
  }

  get flowKey(): string {
    return this.spec.flowKey
  }

  get tenant(): string {
    return this.spec.tenant
  }

  get tenantWeight(): number {
    return this.spec.tenantWeight
  }

  get classWeight(): number {
    return this.spec.classWeight
  }

  get draws(): readonly number[] {
    return this.spec.draws
  }

  get tokens(): number {
    return this.spec.estimatedTokens
  }

  get callTimeoutMs(): number {
    return this.spec.pool.config.callTimeoutMs
  }

  onGrant(grant: Grant): void {
    this.ends.granted(this, grant)
  }

  onRefused(limitId: string, max: number): void {
    this.ends.refused(this, limitId, max)
  }
}
