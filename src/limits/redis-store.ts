import { createHash } from 'node:crypto'
import { Redis, type RedisOptions } from 'ioredis'
import { HeadgateError } from '../errors.js'
import exchangePart from './lua/exchange.lua'
import limitsPart from './lua/limits.lua'
import {
  CLAIM_MS,
  type ControlChange,
  type Exchange,
  type ExchangeReply,
  type GroupSpec,
  type GroupStore,
  type GroupUsage,
  type LimitSpec,
  MAX_PROBE_MS,
  PROBE_MS,
  type StoreEvents,
} from './store.js'
import { bucketExpiryMs, bucketWidthMs } from './window.js'

/** One script in two parts: what it reads and counts, then what it decides and writes. */
const EXCHANGE_SOURCE = `${limitsPart}\n${exchangePart}`
const EXCHANGE_SHA = createHash('sha1').update(EXCHANGE_SOURCE).digest('hex')

/** Where Redis is: a URL, ioredis options, or a client (whose owner closes it). */
export type RedisTarget = string | RedisOptions | Redis

/** A reply must come within this, or the store counts as lost. */
const COMMAND_TIMEOUT_MS = 2_000
const CONNECT_TIMEOUT_MS = 4_000
const MAX_RECONNECT_DELAY_MS = 1_000

const CONNECTION: RedisOptions = {
  lazyConnect: true,
  // The dispatcher repeats an exchange itself, under its own number: a command must fail fast instead of waiting here.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  commandTimeout: COMMAND_TIMEOUT_MS,
  connectTimeout: CONNECT_TIMEOUT_MS,
  retryStrategy: (attempt) => Math.min(MAX_RECONNECT_DELAY_MS, 50 * attempt),
}

/** One process's connection to Redis, shared by its groups. */
export class RedisConnection {
  readonly commands: Redis
  readonly #subscriber: Redis
  readonly #owned: boolean
  readonly #wakes = new Map<string, () => void>()
  readonly #listeners = new Set<StoreEvents>()
  readonly #onReady = () => {
    for (const events of this.#listeners) events.up()
  }
  readonly #onClose = () => {
    for (const events of this.#listeners) events.down(this.#lastError)
  }
  readonly #onError = (error: unknown) => {
    this.#lastError = error
  }
  #lastError: unknown

  constructor(target: RedisTarget) {
    this.#owned = !(target instanceof Redis)
    this.commands = target instanceof Redis ? target : connect(target)
    this.#subscriber = this.commands.duplicate({ ...CONNECTION, commandTimeout: undefined as never })
    // Without a listener ioredis writes to the console; what happened is reported through `down` and `unavailable`.
    for (const client of [this.commands, this.#subscriber]) client.on('error', this.#onError)
    this.commands.on('ready', this.#onReady).on('close', this.#onClose)
    this.#subscriber.on('message', (channel: string) => this.#wakes.get(channel)?.())
    this.#subscriber.on('ready', () => {
      for (const channel of this.#wakes.keys()) void this.#subscribe(channel)
    })
  }

  /** Starts connecting; `listen` tells when it is up. */
  open(): void {
    for (const client of [this.commands, this.#subscriber]) {
      if (client.status === 'wait') client.connect().catch(() => {})
    }
  }

  /** Tells of the connection's ups and downs until `unlisten`. */
  listen(events: StoreEvents): void {
    this.#listeners.add(events)
    if (this.commands.status === 'ready') events.up()
  }

  unlisten(events: StoreEvents): void {
    this.#listeners.delete(events)
  }

  /** Resolves once wake-ups reach us; without a connection for them at once (the lease's renewal covers lost ones). */
  async onWake(channel: string, wake: () => void): Promise<void> {
    this.#wakes.set(channel, wake)
    const subscriber = this.#subscriber
    if (subscriber.status === 'connecting' || subscriber.status === 'connect') {
      await new Promise<void>((resolve) => {
        const settle = () => {
          subscriber.off('ready', settle).off('close', settle)
          resolve()
        }
        subscriber.on('ready', settle).on('close', settle)
      })
    }
    await this.#subscribe(channel)
  }

  offWake(channel: string): void {
    this.#wakes.delete(channel)
    if (this.#subscriber.status === 'ready') this.#subscriber.unsubscribe(channel).catch(() => {})
  }

  /** The error to report when Redis can't be used: host and cause, never the password. */
  unavailable(cause: unknown = this.#lastError): HeadgateError {
    const { host = '127.0.0.1', port = 6379, path } = this.commands.options
    const reason = reasonOf(cause ?? this.#lastError)
    return new HeadgateError('STORE_UNAVAILABLE', `Redis at ${path ?? `${host}:${port}`} is unavailable: ${reason}`, {
      retryable: true,
      cause: cause ?? this.#lastError,
    })
  }

  close(): void {
    this.#subscriber.disconnect()
    if (this.#owned) this.commands.disconnect()
    // A client that is somebody else's keeps nothing of ours.
    else this.commands.off('ready', this.#onReady).off('close', this.#onClose).off('error', this.#onError)
  }

  async #subscribe(channel: string): Promise<void> {
    if (this.#subscriber.status === 'ready') await this.#subscriber.subscribe(channel).catch(() => {})
  }
}

function connect(target: string | RedisOptions): Redis {
  return typeof target === 'string' ? new Redis(target, CONNECTION) : new Redis({ ...CONNECTION, ...target })
}

function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'no answer'
  // A refused dual-stack connection is an AggregateError with an empty message.
  const [first] = cause instanceof AggregateError ? cause.errors : []
  return cause.message || (first instanceof Error ? first.message : cause.name)
}

/** The error code a Redis reply begins with; Redis 7 puts `ERR` before those that come from Lua. */
export function redisErrorCode(error: unknown): string {
  const message = error instanceof Error ? error.message : ''
  return /^(?:ERR )?([A-Z_]+)\b/.exec(message)?.[1] ?? ''
}

/** One process's handle on a group in Redis. */
export class RedisStore implements GroupStore {
  readonly #prefix: string
  readonly #keys: string[]
  /** What every exchange says besides, as the end of its JSON: serialized once. */
  readonly #constants: string
  #channel = ''
  #events: StoreEvents | undefined

  /** `nowMs` replaces Redis `TIME`: for the simulation and the contract suite. */
  constructor(
    private readonly spec: GroupSpec,
    private readonly connection: RedisConnection,
    private readonly nowMs?: () => number,
  ) {
    this.#prefix = `{${spec.namespace}:${spec.group}}:`
    this.#keys = ['meta', 'procs', 'heads', 'ctl', 'flight', 'ceil'].map((name) => this.#prefix + name)
    const limits = spec.limits.map(({ id, limit, windowMs, holdMs }) => ({ id, limit, windowMs, holdMs }))
    const constants = { limits, pools: spec.pools, claimMs: CLAIM_MS, probeMs: PROBE_MS, maxProbeMs: MAX_PROBE_MS }
    this.#constants = JSON.stringify(constants).slice(1)
  }

  async exchange(exchange: Exchange): Promise<ExchangeReply> {
    await this.#follow(exchange.processId)
    const text = await this.#run(`${JSON.stringify(exchange).slice(0, -1)},${this.#constants}`)
    const reply = JSON.parse(text) as ExchangeReply
    // cjson writes an empty table as an object.
    return { ...reply, grants: listOf(reply.grants), refused: listOf(reply.refused) }
  }

  async control(change: ControlChange): Promise<void> {
    const key = `${this.#prefix}ctl`
    const { commands } = this.connection
    if (change.type === 'limit') await commands.hset(key, `limit:${change.id}`, `${change.base}|${change.limit}`)
    else if (change.type === 'pause') await commands.hset(key, `pause:${change.pool}`, '1')
    else await commands.hdel(key, `pause:${change.pool}`, `cool:${change.pool}`)
    const processes = await commands.hkeys(`${this.#prefix}procs`)
    await Promise.all(processes.map((id) => commands.publish(`${this.#prefix}wake:${id}`, '1')))
  }

  async usage(): Promise<GroupUsage> {
    const { commands } = this.connection
    const [meta, control, flight, ceilings, procs] = await Promise.all([
      commands.hgetall(`${this.#prefix}meta`),
      commands.hgetall(`${this.#prefix}ctl`),
      commands.hgetall(`${this.#prefix}flight`),
      commands.hgetall(`${this.#prefix}ceil`),
      commands.hgetall(`${this.#prefix}procs`),
    ])
    const rawMs = this.nowMs ? Math.floor(this.nowMs()) : await this.#timeMs()
    const nowMs = Math.max(Number(meta.last ?? 0), rawMs + Number(meta.offset ?? 0))
    const limits = await Promise.all(
      this.spec.limits.map(async (limit) => {
        const [base, override] = (control[`limit:${limit.id}`] ?? '').split('|')
        const configured = Number(base) === limit.limit ? Number(override) : limit.limit
        const ceiling = Number(ceilings[limit.id]?.split('|')[0] ?? configured)
        const used = limit.windowMs > 0 ? await this.#spent(limit, nowMs) : Number(flight[limit.id] ?? 0)
        return { id: limit.id, used, limit: configured, ceiling: Math.min(configured, ceiling) }
      }),
    )
    const processes: Record<string, Record<string, number>> = {}
    for (const id of Object.keys(procs)) processes[id] = await this.#slotsOf(id)
    const pausedUntilMs: Record<string, number> = {}
    for (const pool of this.spec.pools) {
      const untilMs = control[`pause:${pool}`] ? Number.POSITIVE_INFINITY : Number(control[`cool:${pool}`] ?? 0)
      if (untilMs > nowMs) pausedUntilMs[pool] = untilMs
    }
    return { nowMs, limits, processes, pausedUntilMs }
  }

  listen(events: StoreEvents): void {
    this.#events = events
    this.connection.listen(events)
    this.connection.open()
  }

  async close(): Promise<void> {
    if (this.#channel) this.connection.offWake(this.#channel)
    if (this.#events) this.connection.unlisten(this.#events)
    this.#events = undefined
  }

  /** What still counts of a limit, read without changing anything. */
  async #spent({ id, windowMs, holdMs }: LimitSpec, nowMs: number): Promise<number> {
    const widthMs = bucketWidthMs(windowMs)
    let sum = 0
    for (const [name, amount] of Object.entries(await this.connection.commands.hgetall(`${this.#prefix}b:${id}`))) {
      const bucket = Number(name)
      if (bucketExpiryMs(bucket, widthMs, windowMs, holdMs) > nowMs) sum += Number(amount)
    }
    return sum
  }

  async #slotsOf(processId: string): Promise<Record<string, number>> {
    const fields = Object.entries(await this.connection.commands.hgetall(`${this.#prefix}p:${processId}`))
    return Object.fromEntries(
      fields.filter(([name]) => name.startsWith('s')).map(([name, count]) => [name.slice(1), Number(count)]),
    )
  }

  async #timeMs(): Promise<number> {
    const [seconds, micros] = await this.connection.commands.time()
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
  }

  async #follow(processId: string): Promise<void> {
    const channel = `${this.#prefix}wake:${processId}`
    if (channel === this.#channel) return
    if (this.#channel) this.connection.offWake(this.#channel)
    this.#channel = channel
    await this.connection.onWake(channel, () => this.#events?.wake())
  }

  async #run(payload: string): Promise<string> {
    const args = [...this.#keys, payload, ...(this.nowMs ? [Math.floor(this.nowMs())] : [])]
    const { commands } = this.connection
    try {
      return (await commands.evalsha(EXCHANGE_SHA, this.#keys.length, ...args)) as string
    } catch (error) {
      // SCRIPT FLUSH, a restart or a failover: send the text once, Redis keeps it again.
      if (redisErrorCode(error) === 'NOSCRIPT') {
        return (await commands.eval(EXCHANGE_SOURCE, this.#keys.length, ...args)) as string
      }
      throw this.connection.unavailable(error)
    }
  }
}

function listOf<T>(value: readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : []
}
