import { Dispatcher } from '../../src/dispatch/dispatcher.js'
import type { Grant, TokenRequest } from '../../src/dispatch/grant.js'
import type { DispatcherEventNotice } from '../../src/events.js'
import { MemoryGroup } from '../../src/limits/memory-group.js'
import type { GroupSpec, GroupUsage } from '../../src/limits/store.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'
import { ProbedStore, StoppableClock } from './probes.js'
import { UNPLACED } from './unplaced.js'

export const LEASE_MS = 9_000
export const SLACK_MS = 50

/** Several processes, each with its own dispatcher, on one store and one virtual clock. */
export class Fleet {
  readonly clock = new VirtualClock({ startMs: 1_000_000 })
  group = new MemoryGroup()
  /** How far the store's clock is ahead of everybody's. */
  storeAheadMs = 0
  readonly processes: Process[] = []

  constructor(readonly spec: GroupSpec) {}

  /** Starts a process and lets it join. */
  async join(options: ProcessOptions = {}): Promise<Process> {
    const process = new Process(this, options)
    this.processes.push(process)
    process.dispatcher.start()
    await this.settle()
    return process
  }

  /** Lets everything happen that needs no time. */
  settle(): Promise<void> {
    return this.clock.advanceAsync(0)
  }

  /** The store loses everything, as after FLUSHALL; connections stand. */
  loseState(): void {
    this.group.lose()
  }

  /** An empty store takes the place of the one that was. */
  failOver(): void {
    this.group = new MemoryGroup()
    for (const process of this.processes) process.store.connect()
  }

  usage(): GroupUsage {
    return this.group.usage(this.spec, this.clock.now() + this.storeAheadMs)
  }

  /** What is spent or in flight of each limit, in the order of the spec. */
  get used(): number[] {
    return this.usage().limits.map(({ used }) => used)
  }
}

export interface ProcessOptions {
  readonly leaseMs?: number
  readonly isolatedMs?: number
  readonly holdUntilCallDeadline?: boolean
  /** What limits it keeps, as its name tells. */
  readonly kind?: string
  /** Of each pool. */
  readonly slackMs?: readonly number[]
}

/** One wait for a grant, and how it ended. */
export interface Wait {
  readonly request: TokenRequest
  grants: Grant[]
  grantedAtMs: number
  refusals: [id: string, max: number][]
}

export class Process {
  readonly clock: StoppableClock
  readonly store: ProbedStore
  readonly dispatcher: Dispatcher
  readonly news: DispatcherEventNotice[] = []
  /** Called with each piece of news as it comes. */
  onNews: (news: DispatcherEventNotice) => void = () => {}

  readonly #fleet: Fleet

  constructor(fleet: Fleet, options: ProcessOptions) {
    const { leaseMs = LEASE_MS, isolatedMs = 0, holdUntilCallDeadline = false } = options
    this.#fleet = fleet
    this.clock = new StoppableClock(fleet.clock)
    this.store = new ProbedStore(fleet, this.clock)
    this.dispatcher = new Dispatcher({
      spec: fleet.spec,
      store: this.store,
      clock: this.clock,
      random: () => 0.5,
      name: `process-${fleet.processes.length + 1}${options.kind ? `~${options.kind}` : ''}`,
      slackMs: options.slackMs ?? fleet.spec.pools.map(() => SLACK_MS),
      leaseMs,
      isolatedMs,
      holdUntilCallDeadline,
      onNews: (news) => {
        this.news.push(news)
        this.onNews(news)
      },
    })
  }

  /** Waits for a grant: one of every limit, unless told otherwise. */
  ask(more: Partial<TokenRequest> = {}): Wait {
    const wait: Wait = {
      grants: [],
      grantedAtMs: Number.NaN,
      refusals: [],
      request: {
        ...UNPLACED,
        pool: 0,
        flowKey: 'flow',
        tenant: 'tenant',
        tenantWeight: 1,
        classWeight: 1,
        draws: this.#fleet.spec.draws[more.pool ?? 0]!,
        tokens: 0,
        sinceMs: this.clock.now(),
        callTimeoutMs: 60_000,
        onGrant: (grant) => {
          wait.grants.push(grant)
          wait.grantedAtMs = this.clock.now()
        },
        onRefused: (id, max) => wait.refusals.push([id, max]),
        ...more,
      },
    }
    this.dispatcher.request(wait.request)
    return wait
  }

  /** Asks and sends; the grant must come at once. */
  async send(more: Partial<TokenRequest> = {}): Promise<Grant> {
    const wait = this.ask(more)
    await this.#fleet.settle()
    const [grant] = wait.grants
    if (!grant || !this.dispatcher.maySend(grant)) throw new Error('expected a grant at once')
    return grant
  }

  newsOf(type: DispatcherEventNotice['type']): DispatcherEventNotice[] {
    return this.news.filter((news) => news.type === type)
  }
}
