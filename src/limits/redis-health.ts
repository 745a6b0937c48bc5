import { createHash, randomUUID } from 'node:crypto'
import trial from './lua/trial.lua'
import type { RedisConnection } from './redis-store.js'
import type { StoreEvents } from './store.js'

/** A fleet's group as its keys in Redis name it. */
export interface FoundGroup {
  readonly namespace: string
  readonly group: string
}

export interface RedisPace {
  /** Of `rounds` round trips, ms. */
  readonly medianMs: number
  readonly worstMs: number
  /** How far Redis's clock is ahead of this machine's, ms; exact to half a round trip. */
  readonly aheadMs: number
}

const TRIAL_TTL_MS = 5_000
/** A large Redis holds much that is not ours: look at so many keys and no more. */
const MAX_SCANS = 200
const KEYS_A_SCAN = 2_000
const CORE_KEY = /^\{(.+?):((?:pool|set):.+|tenants)\}:core$/
/** How long a message may take from one of our connections to the other. */
const MESSAGE_LIMIT_MS = 2_000

/** Looks a Redis over, through the very connection that a gate would use. Every method rejects with what Redis said. */
export class RedisHealth {
  constructor(private readonly connection: RedisConnection) {}

  /** Where it connects to: no user, no password. */
  get address(): {
    readonly host: string
    readonly port: number
    readonly tls: boolean
    readonly path?: string | undefined
  } {
    const { host = '127.0.0.1', port = 6379, tls, path } = this.connection.commands.options
    return { host, port, tls: tls !== undefined, path }
  }

  /** Resolves when connected; rejects after `limitMs` or the first failure with its cause. */
  async connect(limitMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    let events: StoreEvents | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        const late = () => reject(new Error(`no answer within ${limitMs} ms`))
        timer = setTimeout(late, limitMs)
        events = {
          wake: () => {},
          up: resolve,
          down: (cause) => reject(cause ?? new Error('the connection was closed')),
        }
        this.connection.listen(events)
        this.connection.open()
      })
    } finally {
      clearTimeout(timer)
      if (events) this.connection.unlisten(events)
    }
    // A database that there is not leaves a client connected, to the first one.
    const { db = 0 } = this.connection.commands.options
    if (db !== 0) await this.connection.commands.select(db)
  }

  /** What `INFO` tells, by field. */
  async info(): Promise<ReadonlyMap<string, string>> {
    const text = await this.connection.commands.info()
    const fields = text.split(/\r?\n/).flatMap((line) => {
      const colon = line.indexOf(':')
      return colon < 1 || line.startsWith('#') ? [] : [[line.slice(0, colon), line.slice(colon + 1)] as const]
    })
    return new Map(fields)
  }

  /** Round trips one after the other, as a process makes them. */
  async pace(rounds: number): Promise<RedisPace> {
    const { commands } = this.connection
    await commands.time()
    const tripsMs: number[] = []
    const aheads: number[] = []
    for (let i = 0; i < rounds; i++) {
      const sentMs = performance.now()
      const wallMs = Date.now()
      const [seconds, micros] = await commands.time()
      const tripMs = performance.now() - sentMs
      tripsMs.push(tripMs)
      aheads.push(Number(seconds) * 1000 + Number(micros) / 1000 - (wallMs + tripMs / 2))
    }
    const worstMs = Math.max(...tripsMs)
    return { medianMs: median(tripsMs), worstMs, aheadMs: Math.round(median(aheads)) }
  }

  /** Runs every command that the gate's scripts use, in a script, by its text and by its digest. Leaves nothing behind. */
  async tryScript(namespace: string): Promise<void> {
    const { commands } = this.connection
    const args = [1, `{${namespace}:doctor}:trial`, TRIAL_TTL_MS] as const
    await commands.eval(trial, ...args)
    await commands.evalsha(createHash('sha1').update(trial).digest('hex'), ...args)
  }

  /** Sends itself a wake-up. False when it did not arrive in time: then grants wait for a timer instead. */
  async tryMessage(namespace: string): Promise<boolean> {
    const channel = `{${namespace}:doctor}:wake:${randomUUID()}`
    let timer: NodeJS.Timeout | undefined
    let hear: () => void = () => {}
    const arrived = new Promise<boolean>((resolve) => {
      hear = () => resolve(true)
      timer = setTimeout(() => resolve(false), MESSAGE_LIMIT_MS)
    })
    try {
      await this.connection.hear(channel, hear)
      if (!this.connection.hears(channel)) return false
      await this.connection.commands.publish(channel, '')
      return await arrived
    } finally {
      clearTimeout(timer)
      await this.connection.unhear(channel, hear)
    }
  }

  /** All fleets that keep limits in this Redis, as far as a bounded look finds them. */
  async groups(): Promise<readonly FoundGroup[]> {
    const found: FoundGroup[] = []
    let cursor = '0'
    for (let scans = 0; scans < MAX_SCANS; scans++) {
      const [next, keys] = await this.connection.commands.scan(cursor, 'MATCH', '{*}:core', 'COUNT', KEYS_A_SCAN)
      for (const key of keys) {
        const [, namespace, group] = CORE_KEY.exec(key) ?? []
        if (namespace !== undefined && group !== undefined) found.push({ namespace, group })
      }
      cursor = next
      if (cursor === '0') break
    }
    return found
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}
