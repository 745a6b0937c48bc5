import { resolveConfig } from '../../../config.js'
import { HeadgateError } from '../../../errors.js'
import type { MonitoringStats } from '../../../monitoring.js'
import { observeFleet } from '../../../observer.js'
import { loadOptions } from '../../configured.js'
import { CliError } from '../errors.js'

const READ_LIMIT_MS = 5_000
const CONNECT_LIMIT_MS = 5_000

/** Where the figures come from. */
export interface Source {
  /** What it is, for the first line: no key, no password. */
  readonly name: string
  /** Rejects with a CliError for what no second try mends; with any other error for what one may. */
  read(): Promise<MonitoringStats>
  close(): Promise<void>
}

/** A running gateway's monitoring API. */
export function gatewaySource(url: string, apiKey: string | undefined): Source {
  const base = URL.canParse(url) ? new URL(url) : undefined
  if (!base || !/^https?:$/.test(base.protocol))
    throw new CliError(`--url: expected an http or https URL, got "${url}"`)
  const { host } = base
  const stats = new URL('/api/v1/monitoring/stats', base)
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }
  return {
    name: `gateway ${host}`,
    async read() {
      const signal = AbortSignal.timeout(READ_LIMIT_MS)
      const response = await fetch(stats, { headers, redirect: 'error', signal }).catch((error: Error) => {
        const cause = error.cause instanceof Error ? error.cause.message || error.cause.name : error.message
        throw new Error(`the gateway at ${host} does not answer: ${cause}`)
      })
      if (response.status === 401 || response.status === 403) {
        throw new CliError(`the gateway at ${host} asks for a key: set HEADGATE_API_KEYS, or pass --key`)
      }
      if (response.status === 404) {
        throw new CliError(`${host} has no monitoring API: not a Headgate gateway, or one with monitoring: false`)
      }
      if (!response.ok) throw new Error(`the gateway at ${host} answers ${response.status}`)
      return (await response.json()) as MonitoringStats
    },
    async close() {},
  }
}

/** Redis itself, without becoming part of the fleet; its limits are read as this config has them. */
export async function redisSource(file: string | undefined, env: NodeJS.ProcessEnv): Promise<Source> {
  const config = resolveConfig(await loadOptions(file, env))
  const observer = observeFleet(config)
  if (!observer) throw new CliError('no Redis is configured: set REDIS_URL, or "redis" in the config')
  const { host, port, path } = observer.health.address
  let isConnected = false
  return {
    name: `Redis ${path ?? `${host}:${port}`}`,
    async read() {
      if (!isConnected) {
        await observer.health.connect(CONNECT_LIMIT_MS).catch((cause) => {
          throw cause instanceof HeadgateError ? cause : observer.unavailable(cause)
        })
        isConnected = true
      }
      return observer.stats()
    },
    close: () => observer.close(),
  }
}
