import { SLACK_MS } from '../../src/config.js'
import { Dispatcher } from '../../src/dispatch/dispatcher.js'
import { MemoryGroup } from '../../src/limits/memory-group.js'
import { MemoryStore } from '../../src/limits/memory-store.js'
import type { Exchange, ExchangeReply, GroupSpec, GroupStore, StoreEvents } from '../../src/limits/store.js'
import { seededRandom } from '../../src/testing/simulator/random.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

/** To the store and back takes between one and two of these, twice. */
const HOP_MS = 0.15
const SEED = 5

/** The memory store behind a modelled network. */
class DistantStore implements GroupStore {
  readonly #inner: MemoryStore

  constructor(
    spec: GroupSpec,
    private readonly clock: VirtualClock,
    group: MemoryGroup,
    private readonly hopMs: () => number,
  ) {
    this.#inner = new MemoryStore(spec, clock, group)
  }

  async exchange(exchange: Exchange): Promise<ExchangeReply> {
    await this.#hop()
    const reply = await this.#inner.exchange(exchange)
    await this.#hop()
    return reply
  }

  control: GroupStore['control'] = (change) => this.#inner.control(change)
  usage = () => this.#inner.usage()
  close = () => this.#inner.close()

  listen({ wake, up, down }: StoreEvents): void {
    this.#inner.listen({ up, down, wake: () => void this.#hop().then(wake) })
  }

  #hop(): Promise<void> {
    return new Promise((resolve) => this.clock.setTimeout(resolve, this.hopMs()))
  }
}

/** Real dispatchers of several processes on one store, on a virtual clock. */
export function virtualFleet(spec: GroupSpec, processes: number) {
  const clock = new VirtualClock({ startMs: 1_000_000, maxTimersPerAdvance: 100_000_000 })
  const random = seededRandom(SEED)
  const group = new MemoryGroup()
  const dispatchers = Array.from({ length: processes }, (_, index) => {
    const dispatcher = new Dispatcher({
      spec,
      store: new DistantStore(spec, clock, group, () => HOP_MS * (1 + random())),
      clock,
      random,
      name: `p${index}`,
      slackMs: [SLACK_MS],
      leaseMs: 9_000,
      isolatedMs: 0,
      holdUntilCallDeadline: false,
      onNews: () => {},
    })
    dispatcher.start()
    return dispatcher
  })
  return { clock, dispatchers, random }
}
