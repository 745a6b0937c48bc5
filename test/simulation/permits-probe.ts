import type { Grant, GrantEnd, TokenRequest } from '../../src/dispatch/grant.js'
import type { Permits } from '../../src/dispatch/shadow.js'
import type { RequestPlan } from './plan.js'
import type { SimProcess } from './sim-process.js'
import type { Watchers } from './watchers.js'

/** Stands between requests and their dispatcher and tells what passes. One for each request, so that it knows whose. */
export class PermitsProbe implements Permits {
  constructor(
    private readonly inner: Permits,
    private readonly process: SimProcess,
    private readonly request_: RequestPlan,
    private readonly watchers: Watchers,
  ) {}

  request(asked: TokenRequest): void {
    const { process, request_, watchers } = this
    const onGrant = asked.onGrant.bind(asked)
    const onRefused = asked.onRefused.bind(asked)
    // The same object: the dispatcher writes the place in line into it.
    Object.assign(asked, {
      onGrant: (grant: Grant) => {
        watchers.tell('granted', process, request_, grant)
        onGrant(grant)
      },
      onRefused: (id: string, max: number) => {
        watchers.tell('refused', process, request_)
        onRefused(id, max)
      },
    })
    watchers.tell('waits', process, request_, asked)
    this.inner.request(asked)
  }

  withdraw(asked: TokenRequest): void {
    this.watchers.tell('withdrawn', this.process, this.request_)
    this.inner.withdraw(asked)
  }

  maySend(grant: Grant): boolean {
    const may = this.inner.maySend(grant)
    if (may) this.watchers.tell('mayBeSent', this.process, this.request_, grant)
    return may
  }

  settle(grant: Grant, end: GrantEnd): void {
    this.watchers.tell('settled', this.process, this.request_, grant, end)
    this.inner.settle(grant, end)
  }
}
