import type { Clock, TimerHandle } from '../../src/clock.js'
import { Dispatcher } from '../../src/dispatch/dispatcher.js'
import type { Grant, TokenRequest } from '../../src/dispatch/grant.js'
import type { DispatcherNews } from '../../src/dispatch/options.js'
import { MemoryGroup } from '../../src/limits/memory-group.js'
import { MemoryStore } from '../../src/limits/memory-store.js'
import type {
  ControlChange,
  Exchange,
  ExchangeReply,
  GroupSpec,
  GroupStore,
  GroupUsage,
  StoreEvents,
} from '../../src/limits/store.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

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
  readonly news: DispatcherNews[] = []
  /** Called with each piece of news as it comes. */
  onNews: (news: DispatcherNews) => void = () => {}

  readonly #fleet: Fleet

  constructor(fleet: Fleet, { leaseMs = LEASE_MS, isolatedMs = 0, holdUntilCallDeadline = false }: ProcessOptions) {
    this.#fleet = fleet
    this.clock = new StoppableClock(fleet.clock)
    this.store = new ProbedStore(fleet, this.clock)
    this.dispatcher = new Dispatcher({
      spec: fleet.spec,
      store: this.store,
      clock: this.clock,
      random: () => 0,
      name: `process-${fleet.processes.length + 1}`,
      slackMs: SLACK_MS,
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

  newsOf(type: DispatcherNews['type']): DispatcherNews[] {
    return this.news.filter((news) => news.type === type)
  }
}

/** A process's clock: while it is stopped (a long GC, SIGSTOP), what falls due waits. */
export class StoppableClock implements Clock {
  #due: (() => void)[] | undefined

  constructor(private readonly clock: VirtualClock) {}

  get stopped(): boolean {
    return this.#due !== undefined
  }

  stop(): void {
    this.#due ??= []
  }

  resume(): void {
    const due = this.#due ?? []
    this.#due = undefined
    for (const run of due) run()
  }

  /** Runs now, or when the process runs again. */
  run(fn: () => void): void {
    if (this.#due) this.#due.push(fn)
    else fn()
  }

  now(): number {
    return this.clock.now()
  }

  wallMs(): number {
    return this.clock.wallMs()
  }

  setTimeout(fn: () => void, delayMs: number): TimerHandle {
    const timer = { cleared: false, handle: undefined as TimerHandle }
    const ring = () => {
      if (!timer.cleared) fn()
    }
    timer.handle = this.clock.setTimeout(() => this.run(ring), delayMs)
    return timer
  }

  clearTimeout(handle: TimerHandle): void {
    const timer = handle as { cleared: boolean; handle: TimerHandle } | undefined
    if (!timer) return
    timer.cleared = true
    this.clock.clearTimeout(timer.handle)
  }
}

/** The memory store behind a network in the test's hands. */
export class ProbedStore implements GroupStore {
  readonly log: { readonly atMs: number; readonly exchange: Exchange; reply?: ExchangeReply }[] = []
  /** What the network loses: the request before the store sees it, or the reply after. */
  lose: 'request' | 'reply' | undefined
  /** The network drops the store's wake-ups. */
  deaf = false
  /** Wake-ups that came. */
  wakes = 0
  mostInFlight = 0
  #inFlight = 0
  #inner: MemoryStore | undefined
  #events: StoreEvents | undefined
  #requestHeld: Promise<void> | undefined
  #replyHeld: Promise<void> | undefined

  constructor(
    private readonly fleet: Fleet,
    private readonly clock: StoppableClock,
  ) {}

  get last(): Exchange {
    return this.log.at(-1)!.exchange
  }

  /** Requests stay on their way until the function returned is called. */
  holdRequests(): () => void {
    const { held, release } = hold()
    this.#requestHeld = held
    return () => {
      this.#requestHeld = undefined
      release()
    }
  }

  /** As `holdRequests`, for the replies. */
  holdReplies(): () => void {
    const { held, release } = hold()
    this.#replyHeld = held
    return () => {
      this.#replyHeld = undefined
      release()
    }
  }

  async exchange(exchange: Exchange): Promise<ExchangeReply> {
    const entry: ProbedStore['log'][number] = { atMs: this.clock.now(), exchange }
    this.log.push(entry)
    this.mostInFlight = Math.max(this.mostInFlight, ++this.#inFlight)
    try {
      await this.#requestHeld
      if (this.lose === 'request') throw new Error('the request was lost')
      const reply = await this.#inner!.exchange(exchange)
      await this.#replyHeld
      if (this.lose === 'reply') throw new Error('the reply was lost')
      entry.reply = reply
      return reply
    } finally {
      this.#inFlight--
    }
  }

  /** Connects to the group as it is now. */
  connect(): void {
    const { clock, spec, group } = this.fleet
    const storeClock = {
      now: () => clock.now() + this.fleet.storeAheadMs,
      wallMs: () => clock.wallMs(),
      setTimeout: () => 0,
      clearTimeout() {},
    }
    this.#inner = new MemoryStore(spec, storeClock, group)
    if (this.#events) this.#inner.listen(this.#events)
  }

  listen({ wake, up, down }: StoreEvents): void {
    const hear = () => {
      this.wakes++
      wake()
    }
    this.#events = {
      wake: () => {
        if (!this.deaf) this.clock.run(hear)
      },
      up: () => this.clock.run(up),
      down,
    }
    this.connect()
  }

  disconnect(cause: unknown): void {
    this.#events?.down(cause)
  }

  async control(change: ControlChange): Promise<void> {
    await this.#inner!.control(change)
  }

  async usage(): Promise<GroupUsage> {
    return this.#inner!.usage()
  }

  async close(): Promise<void> {
    await this.#inner?.close()
  }
}

function hold(): { held: Promise<void>; release: () => void } {
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  return { held, release }
}
