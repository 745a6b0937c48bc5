import type { Clock } from '../clock.js'
import type { RedisConnection } from '../limits/redis-store.js'

/** A question to Redis that takes longer is not worth the wait: the provider may be asked meanwhile. */
const LIMIT_MS = 50

/** What Redis answers; undefined where it is away, refuses, or takes too long. */
export async function bounded<T>(
  { commands }: Pick<RedisConnection, 'commands'>,
  clock: Clock,
  ask: (redis: RedisConnection['commands']) => Promise<T>,
): Promise<T | undefined> {
  if (commands.status !== 'ready') return undefined
  let timer: unknown
  const late = new Promise<undefined>((resolve) => {
    // A turn later: what was this process's own delay is no delay of Redis's, whose reply may be there to be read.
    timer = clock.setTimeout(() => setImmediate(resolve, undefined), LIMIT_MS)
  })
  try {
    return await Promise.race([ask(commands), late])
  } catch {
    return undefined
  } finally {
    clock.clearTimeout(timer)
  }
}
