import type { Grant, GrantEnd, TokenRequest } from '../../src/dispatch/grant.js'
import type { Permits } from '../../src/dispatch/shadow.js'
import type { Exchange, ExchangeReply, GroupSpec, LimitSpec } from '../../src/limits/store.js'
import { SlidingLog } from '../../src/limits/window.js'
import type { SimProcess } from './sim-process.js'
import { MemoryBackend } from './store-host.js'
import type { World, WorldOptions } from './world.js'

/** A defect put in on purpose, and the invariant whose checker has to see it. */
export interface Mutation {
  readonly name: string
  readonly invariant: number
  readonly faults: readonly string[]
  readonly options: () => Partial<WorldOptions>
}

/** A dispatcher with some of its methods replaced. */
class Mutant implements Permits {
  constructor(
    readonly process: SimProcess,
    readonly changed: Partial<Permits>,
  ) {}

  request(asked: TokenRequest): void {
    if (this.changed.request) this.changed.request(asked)
    else this.process.dispatcher.request(asked)
  }

  withdraw(asked: TokenRequest): void {
    this.process.dispatcher.withdraw(asked)
  }

  maySend(grant: Grant): boolean {
    return this.changed.maySend?.(grant) ?? this.process.dispatcher.maySend(grant)
  }

  settle(grant: Grant, end: GrantEnd): void {
    if (this.changed.settle) this.changed.settle(grant, end)
    else this.process.dispatcher.settle(grant, end)
  }
}

const permits = (change: (process: SimProcess) => Partial<Permits>) => () => ({
  permits: (process: SimProcess) => new Mutant(process, change(process)),
})

const tamper = (change: (exchange: Exchange) => Partial<Exchange>) => () => ({
  tamper: (exchange: Exchange) => ({ ...exchange, ...change(exchange) }),
})

/** A store that believes in other limits, or answers otherwise. */
class MutantBackend extends MemoryBackend {
  constructor(
    world: World,
    private readonly limit: (limit: LimitSpec) => LimitSpec,
    private readonly answer: (reply: ExchangeReply) => ExchangeReply = (reply) => reply,
  ) {
    super(world.clock, true)
  }

  override exchange(spec: GroupSpec, exchange: Exchange, nowMs: number): ExchangeReply {
    return this.answer(super.exchange({ ...spec, limits: spec.limits.map(this.limit) }, exchange, nowMs))
  }
}

/** A store that believes that twice as much will be free when a promised date comes. */
class HopefulBackend extends MemoryBackend {
  override exchange(spec: GroupSpec, exchange: Exchange, nowMs: number): ExchangeReply {
    const { freedBy } = SlidingLog.prototype
    SlidingLog.prototype.freedBy = function (atMs) {
      return 2 * freedBy.call(this, atMs)
    }
    try {
      return super.exchange(spec, exchange, nowMs)
    } finally {
      SlidingLog.prototype.freedBy = freedBy
    }
  }
}

const backend = (limit: (limit: LimitSpec) => LimitSpec) => () => ({
  backend: (world: World) => new MutantBackend(world, limit),
})

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'a store that grants more than the limit of a window',
    invariant: 1,
    faults: [],
    options: backend((limit) => (limit.windowMs > 0 ? { ...limit, limit: Math.ceil(limit.limit * 1.3) } : limit)),
  },
  {
    name: 'buckets that expire before their window is over',
    invariant: 1,
    faults: [],
    options: backend((limit) =>
      limit.windowMs > 0 ? { ...limit, windowMs: Math.floor(limit.windowMs * 0.8) } : limit,
    ),
  },
  {
    name: 'a journal that is not replayed',
    invariant: 1,
    faults: ['flush'],
    options: tamper(() => ({ journal: null })),
  },
  {
    name: 'a store that has more slots than there are',
    invariant: 2,
    faults: [],
    options: backend((limit) => (limit.windowMs === 0 ? { ...limit, limit: limit.limit + 2 } : limit)),
  },
  {
    name: 'slots of running calls that are not declared anew',
    invariant: 2,
    faults: ['flush'],
    options: tamper(() => ({ held: [] })),
  },
  {
    name: 'slots that are freed twice',
    invariant: 3,
    faults: [],
    options: tamper(({ freed }) => ({ freed: [...freed, ...freed] })),
  },
  {
    name: 'refunds that are given twice',
    invariant: 4,
    faults: [],
    options: tamper(({ adjustments }) => ({
      adjustments: [...adjustments, ...adjustments.filter(([, , delta]) => delta < 0)],
    })),
  },
  {
    name: 'a last look that sees nothing',
    invariant: 5,
    faults: ['pause'],
    options: permits(() => ({
      maySend(grant) {
        grant.state = 'sent'
        return true
      },
    })),
  },
  {
    name: 'a waiter that is forgotten',
    invariant: 6,
    faults: [],
    options: permits((process) => {
      let count = 0
      return {
        request(asked) {
          if (++count % 40 > 0) process.dispatcher.request(asked)
        },
      }
    }),
  },
  {
    name: 'waiters that are told of seconds late',
    invariant: 7,
    faults: [],
    options: permits((process) => ({
      request: (asked) => void process.clock.setTimeout(() => process.dispatcher.request(asked), 6_000),
    })),
  },
  {
    name: 'last come, first served',
    invariant: 8,
    faults: [],
    options: permits((process) => {
      let order = 0
      return { request: (asked) => process.dispatcher.request(Object.assign(asked, { order: --order })) }
    }),
  },
  {
    name: 'room that is given away although somebody was promised it',
    invariant: 9,
    faults: [],
    options: () => ({ backend: (world: World) => new HopefulBackend(world.clock, true) }),
  },
  {
    name: 'a lease that never ends',
    invariant: 11,
    faults: ['crash'],
    options: tamper(() => ({ leaseMs: 1e12 })),
  },
  {
    name: 'work that is never taken up again',
    invariant: 10,
    faults: ['pause'],
    options: permits((process) => ({
      request(asked) {
        if (process.world.sinceStartMs < 40_000) process.dispatcher.request(asked)
      },
    })),
  },
  {
    name: 'a settlement that is lost',
    invariant: 11,
    faults: [],
    options: permits((process) => {
      let count = 0
      return {
        settle(grant, end) {
          if (++count % 50 > 0) process.dispatcher.settle(grant, end)
        },
      }
    }),
  },
  {
    name: 'a retry on the grant of the attempt before',
    invariant: 12,
    faults: ['server-error'],
    options: permits((process) => {
      const first = new Map<string, Grant>()
      return {
        request(asked) {
          const key = `${asked.flowKey}`
          const known = first.get(key)
          if (known && known.state === 'sent') {
            first.delete(key)
            asked.onGrant(known)
            return
          }
          const onGrant = asked.onGrant.bind(asked)
          process.dispatcher.request(
            Object.assign(asked, {
              onGrant: (grant: Grant) => {
                first.set(key, grant)
                onGrant(grant)
              },
            }),
          )
        },
        maySend: (grant) => grant.state === 'sent' || process.dispatcher.maySend(grant),
      }
    }),
  },
]
