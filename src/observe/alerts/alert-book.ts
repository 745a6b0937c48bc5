import type { RedisConnection } from '../../limits/redis-store.js'
import { replyOf } from '../monitoring/reply.js'
import type { Standing } from './hysteresis.js'

export type Standings = Readonly<Record<string, Standing>>

/** How the fleet's alerts stand, and whose turn it is to judge. Rejects when it can't be reached. */
export interface AlertBook {
  /** The standings, and a claim to judge them for a while; undefined while another process has it. */
  claim(): Promise<Standings | undefined>
  /** False, and without effect, when the claim ran out and another process has it. */
  write(standings: Standings): Promise<boolean>
  read(): Promise<Standings>
}

/** As one process alone keeps it. */
export class MemoryAlertBook implements AlertBook {
  #standings: Standings = {}

  async claim(): Promise<Standings> {
    return this.#standings
  }

  async write(standings: Standings): Promise<boolean> {
    this.#standings = standings
    return true
  }

  async read(): Promise<Standings> {
    return this.#standings
  }
}

/** Longer than the longest pause between two checks of one who has something to watch. */
const LEASE_MS = 15_000
const KEEP_MS = 30 * 86_400_000

/** KEYS: claim, standings. ARGV: process, lease in ms. The standings, or nothing when another process has the claim. */
const CLAIM = `local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('GET', KEYS[2]) or '{}'`

/** KEYS: claim, standings. ARGV: process, standings, how long to keep them in ms. */
const WRITE = `if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
return 1`

export class RedisAlertBook implements AlertBook {
  readonly #keys: readonly [string, string]

  constructor(
    private readonly connection: RedisConnection,
    namespace: string,
    private readonly id: string,
  ) {
    const prefix = `{${namespace}:monitor}:`
    this.#keys = [`${prefix}judge`, `${prefix}alerts`]
  }

  async claim(): Promise<Standings | undefined> {
    const { commands } = this.connection
    const text = await replyOf(this.connection, () => commands.eval(CLAIM, 2, ...this.#keys, this.id, LEASE_MS))
    return typeof text === 'string' ? (JSON.parse(text) as Standings) : undefined
  }

  async write(standings: Standings): Promise<boolean> {
    const { commands } = this.connection
    const text = JSON.stringify(standings)
    return (await replyOf(this.connection, () => commands.eval(WRITE, 2, ...this.#keys, this.id, text, KEEP_MS))) === 1
  }

  async read(): Promise<Standings> {
    const text = await replyOf(this.connection, () => this.connection.commands.get(this.#keys[1]))
    return text === null ? {} : (JSON.parse(text) as Standings)
  }
}
