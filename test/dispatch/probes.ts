import type { Clock, TimerHandle } from '../../src/clock.js'
import { MemoryStore } from '../../src/limits/memory-store.js'
import type {
  ControlChange,
  Exchange,
  ExchangeReply,
  GroupStore,
  GroupUsage,
  StoreEvents,
} from '../../src/limits/store.js'
import type { VirtualClock } from '../../src/testing/virtual-clock.js'
import type { Fleet } from './fleet.js'

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
