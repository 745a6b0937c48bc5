import type { Clock } from '../clock.js'
import type { RedisConnection } from '../limits/redis-store.js'
import type { KeptAnswer } from './answer.js'
import { bounded } from './bounded.js'

/** The fleet's answers: `NAMESPACE:answer:KEY`, each with a time to live of its own. Without Redis everything is a miss. */
export class RedisAnswers {
  readonly #prefix: string

  constructor(
    private readonly connection: Pick<RedisConnection, 'commands'>,
    private readonly clock: Clock,
    namespace: string,
  ) {
    this.#prefix = `${namespace}:answer:`
  }

  async get(key: string): Promise<KeptAnswer | undefined> {
    const found = await bounded(this.connection, this.clock, (redis) => redis.get(this.#prefix + key))
    return found ? keptIn(found) : undefined
  }

  /** Resolves when it is there for others, or can't be. */
  async set(key: string, { text, atMs }: KeptAnswer, keepMs: number): Promise<void> {
    const { commands } = this.connection
    if (commands.status !== 'ready') return
    await commands.set(this.#prefix + key, `${atMs} ${text}`, 'PX', Math.ceil(keepMs)).catch(() => {})
  }
}

function keptIn(found: string): KeptAnswer | undefined {
  const space = found.indexOf(' ')
  const atMs = Number(found.slice(0, space))
  return space > 0 && Number.isFinite(atMs) ? { text: found.slice(space + 1), atMs } : undefined
}
