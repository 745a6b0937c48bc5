import type { RedisConnection } from '../../limits/redis-store.js'

/** A user's own client may queue commands without end while it is cut off. */
const REPLY_TIMEOUT_MS = 2_000

/** Redis's reply, or a rejection with STORE_UNAVAILABLE within 2 s. */
export async function replyOf<T>(connection: RedisConnection, run: () => Promise<T>): Promise<T> {
  if (connection.commands.status !== 'ready') throw connection.unavailable()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(connection.unavailable()), REPLY_TIMEOUT_MS)
  })
  try {
    return await Promise.race([run(), late])
  } finally {
    clearTimeout(timer)
  }
}
