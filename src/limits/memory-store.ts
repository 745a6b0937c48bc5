import type { Clock } from '../clock.js'
import { MemoryGroup } from './memory-group.js'
import type { ControlChange, Exchange, ExchangeReply, GroupSpec, GroupStore, GroupUsage, StoreEvents } from './store.js'

/** One process's handle on a group kept in memory: the default store, with the same semantics as Redis. */
export class MemoryStore implements GroupStore {
  #processId = ''
  #events: StoreEvents | undefined

  constructor(
    private readonly spec: GroupSpec,
    private readonly clock: Clock,
    private readonly group: MemoryGroup = new MemoryGroup(),
  ) {}

  async exchange(exchange: Exchange): Promise<ExchangeReply> {
    if (exchange.processId !== this.#processId) {
      this.group.unlisten(this.#processId)
      this.#processId = exchange.processId
      this.group.listen(exchange.processId, () => this.#events?.wake())
    }
    return this.group.exchange(this.spec, exchange, this.clock.now())
  }

  async control(change: ControlChange): Promise<void> {
    this.group.control(change, this.clock.now())
  }

  async usage(): Promise<GroupUsage> {
    return this.group.usage(this.spec, this.clock.now())
  }

  listen(events: StoreEvents): void {
    this.#events = events
    events.up()
  }

  async close(): Promise<void> {
    this.group.unlisten(this.#processId)
    this.#events = undefined
  }
}
