import { afterAll, afterEach, beforeAll, beforeEach, describe } from 'vitest'
import { ageOf } from '../../src/limits/learning.js'
import { serviceRates } from '../../src/limits/plan.js'
import {
  type Exchange,
  type ExchangeReply,
  type FlowStatement,
  type GroupSpec,
  type GroupStore,
  type Journal,
  NO_NEWS,
} from '../../src/limits/store.js'
import { memoryKind, redisKind, type StoreWorld } from './driver.js'

/** Leases are the matter of their own tests. */
const LONG_LEASE_MS = 100_000_000
/** What a slot is charged for at first. */
const SLOT_MS = 1_000

type Ask = Partial<FlowStatement>

/** One process as the store sees it: numbers its batches, and remembers what it was told. */
export class Process {
  seq = 0
  epoch = ''
  version = 0
  wakes = 0
  roster: readonly string[] = []
  floors: readonly number[] = []
  last: Exchange | undefined
  #opened = 0

  private constructor(
    readonly store: GroupStore,
    readonly spec: GroupSpec,
    readonly world: StoreWorld,
    public id: string,
  ) {}

  static async open(world: StoreWorld, spec: GroupSpec, name = 'a'): Promise<Process> {
    const store = await world.open(spec)
    const process = new Process(store, spec, world, `${name}.1`)
    store.listen({ wake: () => process.wakes++, up() {}, down() {} })
    return process
  }

  get nowMs(): number {
    return this.world.instant.nowMs
  }

  /** States flows, everything else as given. */
  async ask(asks: readonly Ask[] = [], more: Partial<Exchange> = {}): Promise<ExchangeReply> {
    this.last = {
      ...{
        processId: this.id,
        seq: ++this.seq,
        leaseMs: LONG_LEASE_MS,
        holdUntilMs: 0,
        isolatedMs: 0,
        distrust: false,
      },
      ...{ knownEpoch: this.epoch, knownVersion: this.version, candidateEpoch: this.#candidate() },
      ...{ ...NO_NEWS, held: [], floors: [], journal: null },
      ...{ flows: asks.map((its) => this.flow(its)), leave: false },
      ...more,
    }
    const reply = await this.store.exchange(this.last)
    if (reply.fenced) return reply
    this.epoch = reply.epoch
    this.version = reply.version
    if (reply.share) Object.assign(this, reply.share)
    return reply
  }

  /** Sends the last batch again, as after a lost reply. */
  repeat(): Promise<ExchangeReply> {
    return this.store.exchange(this.last!)
  }

  /** Comes up again under the same name, with what it knows. */
  rejoin(asks: readonly Ask[] = [], more: Partial<Exchange> = {}): Promise<ExchangeReply> {
    const [name, incarnation] = this.id.split('.')
    this.id = `${name}.${Number(incarnation) + 1}`
    this.seq = 0
    return this.ask(asks, more)
  }

  flow(its: Ask): FlowStatement {
    const { pool = 0, costs = [], count = Math.max(1, costs.length), draws = this.spec.draws[pool]! } = its
    const { base, perToken } = serviceRates(this.spec.limits, draws, SLOT_MS)
    const load = count * base
    return {
      ...{ key: 'f', pool, tenant: 'default', tenantWeight: 1, classWeight: 1, draws, base, perToken, count, load },
      ...{ sinceMs: this.nowMs, costs },
      ...its,
    }
  }

  async used(): Promise<number[]> {
    return (await this.store.usage()).limits.map(({ used }) => used)
  }

  #candidate(): string {
    return `${ageOf(this.epoch) + 1}-${this.id}-${++this.#opened}`
  }
}

export function journalOf(more: Partial<Journal>): Journal {
  return {
    ...{
      charges: [],
      roster: [],
      used: [],
      storeMs: Number.MAX_SAFE_INTEGER,
      ceilings: [],
      coolDowns: [],
      paused: [],
      overrides: [],
    },
    ...{ poolWords: [], limitWords: [] },
    ...more,
  }
}

/** The dates of a flow's grants. */
export function datesOf(reply: ExchangeReply, key = 'f'): number[] {
  const [, ...dated] = reply.grants.find(([flow]) => flow === key) ?? [key]
  return dated.filter((_, index) => index % 2 === 0)
}

/** How many grants each flow got. */
export function countsOf(reply: ExchangeReply): Record<string, number> {
  return Object.fromEntries(reply.grants.map(([flow, ...dated]) => [flow, dated.length / 2]))
}

/** The same rules for every kind of store. */
export function contract(name: string, rules: (world: () => StoreWorld) => void): void {
  describe.each([memoryKind(), redisKind()])(`${name}: $name`, (kind) => {
    let world: StoreWorld
    beforeAll(() => kind.start())
    afterAll(() => kind.stop())
    beforeEach(async () => {
      world = await kind.fresh()
    })
    afterEach(() => world.end())
    rules(() => world)
  })
}
