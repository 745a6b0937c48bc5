import { spawnSync } from 'node:child_process'
import { startRedisServer } from '../../../testing/index.js'
import { CliError } from '../errors.js'
import type { RedisTarget } from './protocol.js'

const BINARY = 'redis-server'

export interface SharedStore {
  /** Undefined: the embedded one. */
  readonly redis?: RedisTarget
  stop(): Promise<void>
}

/** The store that the replayed processes share: the one that is given, none for one process, else a Redis of its own. */
export async function sharedStore(
  processes: number,
  redis: RedisTarget | undefined,
  note: (line: string) => void,
): Promise<SharedStore> {
  if (redis !== undefined) return { redis, stop: async () => {} }
  if (processes === 1) {
    note('store: embedded, for one process')
    return { stop: async () => {} }
  }
  if (!hasRedisServer()) {
    const remedy = 'set REDIS_URL or install redis-server, or use --processes 1'
    throw new CliError(`replay --processes ${processes} needs a shared store: ${remedy}`)
  }
  const server = await startRedisServer()
  note(`store: a redis-server of its own on port ${server.port}, stopped at the end`)
  return { redis: server.url, stop: () => server.stop() }
}

export function hasRedisServer(): boolean {
  return spawnSync(BINARY, ['--version'], { stdio: 'ignore' }).status === 0
}
