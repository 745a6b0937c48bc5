import type {
  ControlChange,
  Exchange,
  ExchangeReply,
  GroupSpec,
  GroupStore,
  GroupUsage,
  StoreEvents,
} from '../../src/limits/store.js'
import type { Link } from './link.js'
import type { ProcessClock } from './process-clock.js'

/** As the Redis store: a reply must come within this. */
const COMMAND_TIMEOUT_MS = 2_000

/** The store at the far end of a link. */
export interface StoreServer {
  /** Applies an exchange; `answer` gets the reply. */
  apply(spec: GroupSpec, exchange: Exchange, answer: (reply: ExchangeReply) => void): void
  control(change: ControlChange): void
  listen(processId: string, wake: () => void): void
  unlisten(processId: string): void
}

/** One process's handle on the store, across its link. */
export class SimStore implements GroupStore {
  #events: StoreEvents | undefined
  #processId = ''
  readonly #pending = new Set<(error: Error) => void>()

  constructor(
    private readonly spec: GroupSpec,
    private readonly clock: ProcessClock,
    private readonly link: Link,
    private readonly server: StoreServer,
    private readonly onReply: (exchange: Exchange, reply: ExchangeReply) => void,
  ) {}

  exchange(exchange: Exchange): Promise<ExchangeReply> {
    if (!this.link.connected) return Promise.reject(new Error('not connected'))
    this.#follow(exchange.processId)
    return new Promise((resolve, reject) => {
      const end = () => {
        this.#pending.delete(fail)
        this.clock.clearTimeout(timer)
      }
      const fail = (error: Error) => {
        end()
        reject(error)
      }
      const timer = this.clock.setTimeout(() => fail(new Error('the command timed out')), COMMAND_TIMEOUT_MS)
      this.#pending.add(fail)
      const take = (reply: ExchangeReply) => {
        if (!this.#pending.has(fail)) return
        end()
        this.onReply(exchange, reply)
        resolve(reply)
      }
      this.link.send('there', () =>
        this.server.apply(this.spec, exchange, (reply) =>
          this.link.send('back', () => this.clock.run(() => take(reply))),
        ),
      )
    })
  }

  /** The connection broke. */
  disconnect(): void {
    this.clock.run(() => {
      const error = new Error('the connection was closed')
      for (const fail of [...this.#pending]) fail(error)
      this.#events?.down(error)
    })
  }

  /** It is back. */
  reconnect(): void {
    this.clock.run(() => this.#events?.up())
  }

  /** The machine is gone: Redis sees its connections close. */
  vanish(): void {
    this.server.unlisten(this.#processId)
  }

  async control(change: ControlChange): Promise<void> {
    this.link.send('there', () => this.server.control(change))
  }

  usage(): Promise<GroupUsage> {
    return Promise.reject(new Error('nobody asks in the simulation'))
  }

  listen(events: StoreEvents): void {
    this.#events = events
    if (this.link.connected) events.up()
  }

  async close(): Promise<void> {
    this.server.unlisten(this.#processId)
    this.#events = undefined
  }

  #follow(processId: string): void {
    if (processId === this.#processId) return
    this.server.unlisten(this.#processId)
    this.#processId = processId
    this.server.listen(processId, () => this.link.wake(() => this.clock.run(() => this.#events?.wake())))
  }
}
