import type { PoolConfig } from '../config.js'
import type { RequestTarget } from '../events.js'
import type { RequestSpec } from './entry.js'

type Server = NonNullable<RequestTarget['server']>

/** A pool's URL is read once. */
const servers = new WeakMap<PoolConfig, Server>()

/** What a request asks for, of whom and where, for who watches. */
export function targetOf({ model, work, pool: { config } }: RequestSpec): RequestTarget {
  const target = { model, provider: config.provider.name, api: work.api }
  // A governed function calls whom it likes.
  return work.api === undefined ? target : { ...target, server: serverOf(config) }
}

function serverOf(config: PoolConfig): Server {
  const known = servers.get(config)
  if (known) return known
  const { protocol, hostname: address, port } = new URL(config.baseURL)
  const server = { address, port: Number(port) || (protocol === 'http:' ? 80 : 443) }
  servers.set(config, server)
  return server
}
