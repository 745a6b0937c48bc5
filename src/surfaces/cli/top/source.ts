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

const STATS_PATH = '/api/v1/monitoring/stats'

/** A running gateway's monitoring API; `url` may have a path, where a proxy serves it below one. `keySource` says whose key it is. */
export function gatewaySource(url: string, apiKey: string | undefined, keySource: string): Source {
  const base = baseOf(url)
  const place = base.host + base.pathname
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey))
    throw new CliError(`${keySource}: expected a key of printable ASCII characters without spaces`)
  const headers: Record<string, string> = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }
  let isGateway = false
  /** What never was a gateway will not become one; where one was, a proxy answers while it restarts. */
  const noGateway = (message: string) => (isGateway ? new Error(message) : new CliError(message))
  return {
    name: `gateway ${place}`,
    async read() {
      const signal = AbortSignal.timeout(READ_LIMIT_MS)
      const stats = base.origin + base.pathname + STATS_PATH
      const response = await fetch(stats, { headers, redirect: 'manual', signal }).catch((error: Error) => {
        const cause = error.cause instanceof Error ? error.cause.message || error.cause.name : error.message
        throw new Error(`the gateway at ${place} does not answer: ${cause}`)
      })
      const text = await response.text()
      refuse(response, { text, place, keySource: apiKey === undefined ? undefined : keySource, noGateway })
      const found = parsed(text)
      if (isStats(found)) {
        isGateway = true
        return found
      }
      const type = response.headers.get('content-type')?.split(';')[0] ?? 'no content type'
      throw noGateway(
        `${place} is no Headgate gateway: expected its figures as JSON at ${STATS_PATH}, got ${type}: ${excerpt(text)}`,
      )
    },
    async close() {},
  }
}

/** Without a slash at the end of its path. */
function baseOf(url: string): { readonly host: string; readonly origin: string; readonly pathname: string } {
  const base = URL.canParse(url) ? new URL(url) : undefined
  if (!base || !/^https?:$/.test(base.protocol))
    throw new CliError(`--url: expected an http or https URL, got "${url}"`)
  if (base.username || base.password || base.search || base.hash)
    throw new CliError(`--url: expected a scheme, a host and perhaps a path, no more; pass a key with --key`)
  const { host, origin, pathname } = base
  return { host, origin, pathname: pathname.replace(/\/+$/, '') }
}

interface Answered {
  readonly text: string
  readonly place: string
  readonly keySource: string | undefined
  noGateway(message: string): Error
}

/** Throws for any status but success. */
function refuse({ status, ok, headers }: Response, { text, place, keySource, noGateway }: Answered): void {
  if (status === 401) {
    const said =
      keySource === undefined
        ? 'asks for a key: set HEADGATE_API_KEYS, or pass --key'
        : `does not take the key of ${keySource}: expected one of its HEADGATE_API_KEYS`
    throw new CliError(`the gateway at ${place} ${said}`)
  }
  if (status === 403) throw new CliError(`the gateway at ${place} refuses (403): ${messageIn(text)}`)
  if (status === 404) {
    throw noGateway(
      `${place} has no monitoring API: not a Headgate gateway, one below another path, or one with monitoring: false`,
    )
  }
  if (status >= 300 && status < 400)
    throw noGateway(`${place} redirects (${status}) to ${headers.get('location') ?? 'nowhere'}: pass that as --url`)
  if (!ok) throw new Error(`the gateway at ${place} answers ${status}: ${messageIn(text)}`)
}

function isStats(value: unknown): value is MonitoringStats {
  const { pools, processes, totals } = (value ?? {}) as Partial<MonitoringStats>
  return typeof pools === 'object' && Array.isArray(processes) && typeof totals === 'object'
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What an error of the gateway says; of another's answer, how it begins. */
function messageIn(text: string): string {
  const message = (parsed(text) as { error?: { message?: unknown } } | undefined)?.error?.message
  return typeof message === 'string' ? excerpt(message, message.length) : excerpt(text)
}

/** One line that no terminal obeys. */
function excerpt(text: string, most = 60): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim()
  return line === '' ? 'nothing' : line.length > most ? `${line.slice(0, most)}…` : line
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
