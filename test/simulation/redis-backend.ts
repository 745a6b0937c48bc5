import { Redis } from 'ioredis'
import { RedisConnection, RedisStore } from '../../src/limits/redis-store.js'
import type { ControlChange, Exchange, ExchangeReply, GroupSpec, GroupUsage } from '../../src/limits/store.js'
import type { StoreBackend } from './store-host.js'
import type { World } from './world.js'

interface Snapshot {
  readonly atMs: number
  readonly keys: readonly (readonly [key: string, dump: Buffer])[]
}

interface Handle {
  readonly connection: RedisConnection
  readonly store: RedisStore
}

/**
 * The Lua in a real Redis, with `now` from the simulation: virtual time stands still until the reply is there, and until
 * the wake-ups that it caused have been told.
 */
export class RedisBackend implements StoreBackend {
  readonly #handles = new Map<string, Handle>()
  readonly #wakes = new Map<string, () => void>()
  readonly #client: Redis
  readonly #hearer: Redis
  readonly #prefix: string
  readonly #rewinds: boolean
  #snapshots: Snapshot[] = []
  #nowMs = 0
  #failovers = 0

  constructor(
    private readonly world: World,
    private readonly url: string,
  ) {
    const { namespace, group } = world.groupPlan.spec
    this.#prefix = `{${namespace}:${group}}:`
    this.#rewinds = world.plan.faults.some(({ kind }) => kind === 'failover')
    this.#client = new Redis(url)
    this.#hearer = new Redis(url)
  }

  /** Empties the server, and listens to it. */
  async start(): Promise<void> {
    await this.#client.flushall()
    await this.#hearer.psubscribe(`${this.#prefix.replace(/[[\]?*\\]/g, '\\$&')}*`)
    this.#hearer.on('pmessage', (_pattern, channel: string, message: string) => {
      const name = channel.slice(this.#prefix.length)
      if (name.startsWith('wake:')) this.#wakes.get(name.slice('wake:'.length))?.()
      else for (const [processId, wake] of this.#wakes) if (processId !== message) wake()
    })
  }

  async stop(): Promise<void> {
    for (const { store, connection } of this.#handles.values()) {
      await store.close()
      connection.close()
    }
    this.#client.disconnect()
    this.#hearer.disconnect()
  }

  async exchange(spec: GroupSpec, exchange: Exchange, nowMs: number): Promise<ExchangeReply> {
    this.#nowMs = nowMs
    const reply = await (await this.#handleOf(exchange.processId, spec)).store.exchange(exchange)
    await this.#heard()
    await this.#snapshot()
    return reply
  }

  async control(change: ControlChange, nowMs: number): Promise<void> {
    const [handle] = this.#handles.values()
    this.#nowMs = nowMs
    await handle?.store.control(change)
    await this.#heard()
    await this.#snapshot()
  }

  async usage(spec: GroupSpec, nowMs: number): Promise<GroupUsage> {
    this.#nowMs = nowMs
    return (await this.#handleOf('visitor.1', spec)).store.usage()
  }

  async lose(): Promise<void> {
    this.#snapshots = []
    await this.#client.flushall()
  }

  async rewind(atMs: number): Promise<void> {
    this.#failovers++
    const snapshot = this.#snapshots.findLast((its) => its.atMs <= atMs)
    await this.#client.flushall()
    for (const [key, dump] of snapshot?.keys ?? []) await this.#client.restore(key, 0, dump)
  }

  listen(processId: string, wake: () => void): void {
    this.#wakes.set(processId, wake)
  }

  unlisten(processId: string): void {
    this.#wakes.delete(processId)
    const process = this.world.processes.find(({ name }) => name === nameOf(processId))
    if (process?.alive !== false) return
    // A machine that is gone hears nothing any more, as Redis sees it.
    const handle = this.#handles.get(process.name)
    this.#handles.delete(process.name)
    if (handle) this.world.block(handle.store.close().then(() => handle.connection.close()))
  }

  async leftovers(): Promise<string[]> {
    return []
  }

  async #handleOf(processId: string, spec: GroupSpec): Promise<Handle> {
    const name = nameOf(processId)
    let handle = this.#handles.get(name)
    if (!handle) {
      const connection = new RedisConnection(this.url)
      handle = {
        connection,
        store: new RedisStore(
          spec,
          connection,
          () => this.#nowMs,
          () => `s${this.#failovers}`,
        ),
      }
      this.#handles.set(name, handle)
      const { store } = handle
      await new Promise<void>((resolve) => store.listen({ wake() {}, up: resolve, down() {} }))
    }
    return handle
  }

  /** What was published before is told before the answer to this. */
  async #heard(): Promise<void> {
    await this.#hearer.ping()
  }

  async #snapshot(): Promise<void> {
    if (!this.#rewinds) return
    const names = (await this.#client.keys('*')).sort()
    const keys = await Promise.all(names.map(async (key) => [key, (await this.#client.dumpBuffer(key))!] as const))
    this.#snapshots.push({ atMs: this.world.clock.now(), keys })
    if (this.#snapshots.length > 2_000) this.#snapshots = this.#snapshots.slice(-1_000)
  }
}

function nameOf(processId: string): string {
  return processId.slice(0, processId.lastIndexOf('.'))
}
