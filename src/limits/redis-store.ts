import { createHash } from 'node:crypto'
import { Redis, type RedisOptions } from 'ioredis'
import { HeadgateError } from '../errors.js'
import choicePart from './lua/choice.lua'
import controlPart from './lua/control.lua'
import corePart from './lua/core.lua'
import epochPart from './lua/epoch.lua'
import ledgerPart from './lua/ledger.lua'
import rarePart from './lua/rare.lua'
import replyPart from './lua/reply.lua'
import reportPart from './lua/report.lua'
import savePart from './lua/save.lua'
import schedulePart from './lua/schedule.lua'
import settlePart from './lua/settle.lua'
import statePart from './lua/state.lua'
import storePart from './lua/store.lua'
import usagePart from './lua/usage.lua'
import { decodeReply, decodeUsage, encodeControl, encodeExchange, encodeSpec } from './redis-codec.js'
import * as rules from './store.js'
import type { ControlChange, Exchange, ExchangeReply, GroupSpec, GroupStore, GroupUsage, StoreEvents } from './store.js'

interface Script {
  readonly source: string
  readonly sha: string
}

/** One script of several parts. Names of constants stand for their values, which costs Redis nothing. */
function scriptOf(...parts: string[]): Script {
  const source = parts.join('\n').replace(/\b[A-Z][A-Z_]+[A-Z]\b/g, (name) => String((rules as Rules)[name] ?? name))
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

type Rules = Readonly<Record<string, unknown>>
const EXCHANGE = scriptOf(
  ...[corePart, ledgerPart, rarePart, epochPart, settlePart, statePart, choicePart, schedulePart, reportPart],
  ...[replyPart, savePart, storePart, 'return result'],
)
const CONTROL = scriptOf(corePart, controlPart, storePart)
const USAGE = scriptOf(corePart, usagePart)

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

type Hearer = (message: string) => void

/** One process's connection to Redis, shared by its groups. */
export class RedisConnection {
  readonly commands: Redis
  readonly #subscriber: Redis
  readonly #owned: boolean
  readonly #hearers = new Map<string, Set<Hearer>>()
  /** Channels that Redis counts us on. */
  readonly #subscribed = new Set<string>()
  readonly #listeners = new Set<StoreEvents>()
  readonly #onReady = () => {
    this.connects++
    for (const events of this.#listeners) events.up()
  }
  readonly #onClose = () => {
    for (const events of this.#listeners) events.down(this.#lastError)
  }
  readonly #onError = (error: unknown) => {
    this.#lastError = error
  }
  #lastError: unknown
  /** How often it connected: after each time another server may answer. */
  connects = 0

  constructor(target: RedisTarget) {
    this.#owned = !(target instanceof Redis)
    this.commands = target instanceof Redis ? target : connect(target)
    this.#subscriber = this.commands.duplicate({ ...CONNECTION, commandTimeout: undefined as never })
    // Without a listener ioredis writes to the console; what happened is reported through `down` and `unavailable`.
    for (const client of [this.commands, this.#subscriber]) client.on('error', this.#onError)
    this.commands.on('ready', this.#onReady).on('close', this.#onClose)
    this.#subscriber.on('message', (channel: string, message: string) => {
      for (const hear of this.#hearers.get(channel) ?? []) hear(message)
    })
    this.#subscriber.on('ready', () => {
      for (const channel of this.#hearers.keys()) void this.#subscribe(channel)
    })
    this.#subscriber.on('close', () => this.#subscribed.clear())
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

  /** Resolves once messages reach us; without a connection for them at once (the lease's renewal covers lost ones). */
  async hear(channel: string, hearer: Hearer): Promise<void> {
    const hearers = this.#hearers.get(channel)
    if (hearers) hearers.add(hearer)
    else this.#hearers.set(channel, new Set([hearer]))
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

  async unhear(channel: string, hearer: Hearer): Promise<void> {
    const hearers = this.#hearers.get(channel)
    hearers?.delete(hearer)
    if (hearers?.size !== 0) return
    this.#hearers.delete(channel)
    this.#subscribed.delete(channel)
    if (this.#subscriber.status === 'ready') await this.#subscriber.unsubscribe(channel).catch(() => {})
  }

  hears(channel: string): boolean {
    return this.#subscribed.has(channel)
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
    if (this.#subscriber.status !== 'ready' || this.#subscribed.has(channel)) return
    await this.#subscriber.subscribe(channel).then(
      () => this.#subscribed.add(channel),
      () => {},
    )
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
  readonly #spec: string
  readonly #all: string
  #processId = ''
  /** The connection on which it is known who answers. */
  #knownConnect = -1
  #events: StoreEvents | undefined
  readonly #onWake = () => this.#events?.wake()
  /** The message names the process that it does not concern. */
  readonly #onAll = (except: string) => {
    if (except !== this.#processId) this.#events?.wake()
  }

  /** `nowMs` replaces Redis `TIME` and `server` its run id: for the simulation and the contract suite. */
  constructor(
    private readonly spec: GroupSpec,
    private readonly connection: RedisConnection,
    private readonly nowMs?: () => number,
    private readonly server?: () => string,
  ) {
    this.#prefix = `{${spec.namespace}:${spec.group}}:`
    this.#all = `${this.#prefix}all`
    this.#spec = encodeSpec(spec)
  }

  async exchange(exchange: Exchange): Promise<ExchangeReply> {
    await this.#follow(exchange.processId)
    const { connects } = this.connection
    const server = this.server?.() ?? (connects === this.#knownConnect ? 0 : 1)
    const request = encodeExchange(this.spec, exchange, this.connection.hears(this.#all), server)
    const reply = decodeReply(await this.#run(EXCHANGE, request))
    // Nobody looks for a process id whose place was taken.
    if (!reply.fenced) this.#knownConnect = connects
    // From now on it must be heard if the store loses its state.
    if (!reply.fenced && !this.connection.hears(this.#all)) await this.connection.hear(this.#all, this.#onAll)
    return reply
  }

  async control(change: ControlChange): Promise<void> {
    await this.#run(CONTROL, encodeControl(change))
  }

  async usage(): Promise<GroupUsage> {
    return decodeUsage(this.spec, await this.#run(USAGE, ''))
  }

  listen(events: StoreEvents): void {
    this.#events = events
    this.connection.listen(events)
    this.connection.open()
  }

  async close(): Promise<void> {
    if (this.#events) this.connection.unlisten(this.#events)
    this.#events = undefined
    await this.connection.unhear(this.#all, this.#onAll)
    if (this.#processId) await this.connection.unhear(this.#channelOf(this.#processId), this.#onWake)
  }

  async #follow(processId: string): Promise<void> {
    if (processId === this.#processId) return
    const former = this.#processId
    this.#processId = processId
    if (former) void this.connection.unhear(this.#channelOf(former), this.#onWake)
    await this.connection.hear(this.#channelOf(processId), this.#onWake)
  }

  #channelOf(processId: string): string {
    return `${this.#prefix}wake:${processId}`
  }

  async #run({ sha, source }: Script, request: string): Promise<string> {
    const { commands } = this.connection
    const args = [`${this.#prefix}core`, this.#spec, this.nowMs ? injected(this.nowMs()) : '', request] as const
    try {
      return (await commands.evalsha(sha, 1, ...args)) as string
    } catch (error) {
      // SCRIPT FLUSH, a restart or a failover: send the text once, Redis keeps it again.
      if (redisErrorCode(error) === 'NOSCRIPT') return (await commands.eval(source, 1, ...args)) as string
      throw this.connection.unavailable(error)
    }
  }
}

/** Whole µs, as Redis `TIME` has them; rounded down as there. */
function injected(nowMs: number): string {
  return (Math.floor(nowMs * 1000) / 1000).toFixed(3)
}
