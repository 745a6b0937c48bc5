import { randomUUID } from 'node:crypto'
import type { Clock } from '../clock.js'
import type { RedisConnection } from '../limits/redis-store.js'
import { bounded } from './bounded.js'

/** For as long others wait for a process of which nothing is heard any more. */
const LEASE_MS = 3_000

/** Only its holder may prolong a lease, or end it. */
const PROLONG = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0"
const END = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"

/** `answered`: it is there to be looked up; `failed`: who waits had better ask himself; `left`: somebody else is to ask. */
export type Verdict = 'answered' | 'failed' | 'left'

/** What a process has that asks a question for the whole fleet. */
export interface Lease {
  /** Tells those who wait what came of it. Twice is once. */
  end(verdict: Verdict): void
}

/**
 * Who of the fleet asks a question: `NAMESPACE:answering:KEY` holds a lease, its end is told on a channel of that name.
 * A holder that dies is outlived by 3 s; a message that is lost costs as much. Without Redis everybody asks.
 */
export class Answering {
  readonly #prefix: string
  readonly #token = randomUUID()

  constructor(
    private readonly connection: Pick<RedisConnection, 'commands' | 'hear' | 'unhear'>,
    private readonly clock: Clock,
    namespace: string,
  ) {
    this.#prefix = `${namespace}:answering:`
  }

  /** The lease, or who else has it: another process, or nobody that could be told. */
  async take(key: string): Promise<Lease | 'elsewhere' | 'nobody'> {
    const name = this.#prefix + key
    const taken = await bounded(this.connection, this.clock, (redis) =>
      redis.set(name, this.#token, 'PX', LEASE_MS, 'NX'),
    )
    if (taken === undefined) return 'nobody'
    return taken === null ? 'elsewhere' : this.#hold(name)
  }

  /** Resolves when the holder's lease has ended, or may have, or with `given`. True: it failed. */
  async waitFor(key: string, given: Promise<unknown>): Promise<boolean> {
    const name = this.#prefix + key
    let timer: unknown
    let told: (verdict: string) => void = () => {}
    const news = new Promise<string>((resolve) => {
      told = resolve
    })
    await this.connection.hear(name, told)
    // It may have ended before it could be heard.
    const leftMs = (await bounded(this.connection, this.clock, (redis) => redis.pttl(name))) ?? 0
    const late = new Promise<void>((resolve) => {
      timer = this.clock.setTimeout(resolve, Math.min(LEASE_MS, Math.max(0, leftMs)))
    })
    const verdict = await Promise.race([news, late, given])
    this.clock.clearTimeout(timer)
    await this.connection.unhear(name, told)
    return verdict === 'failed'
  }

  #hold(name: string): Lease {
    let timer: unknown
    let over = false
    const prolong = () => {
      timer = this.clock.setTimeout(async () => {
        await bounded(this.connection, this.clock, (redis) => redis.eval(PROLONG, 1, name, this.#token, LEASE_MS))
        if (!over) prolong()
      }, LEASE_MS / 3)
    }
    prolong()
    return {
      end: (verdict) => {
        if (over) return
        over = true
        this.clock.clearTimeout(timer)
        void bounded(this.connection, this.clock, async (redis) => {
          await redis.eval(END, 1, name, this.#token)
          await redis.publish(name, verdict)
        })
      },
    }
  }
}
