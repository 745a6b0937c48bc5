import { parseDurationMs } from './durations.js'
import { HeadgateError } from './errors.js'
import type { LimitChange } from './gate-types.js'

/** A limit's new value, beside the configured one that it moves from. */
interface Move {
  readonly id: string
  readonly base: number
  readonly limit: number
}

const DIMENSIONS = ['requests', 'tokens', 'concurrency']

/** What a change means for a pool's limits. Throws CONFIG_INVALID for a limit that the pool is not configured with. */
export function movesOf(
  pool: string,
  change: LimitChange,
  configured: readonly { readonly id: string; readonly limit: number }[],
): Move[] {
  checkShape(change)
  const wanted: [id: string, limit: number][] = []
  for (const dimension of ['requests', 'tokens'] as const) {
    const rate = change[dimension]
    if (rate === undefined) continue
    if (typeof rate !== 'object' || rate === null) throw refused(`${dimension}: expected { limit, per }, got ${rate}`)
    wanted.push([`pool:${pool}:${dimension}:${parseDurationMs(rate.per)}`, rate.limit])
  }
  if (change.concurrency !== undefined) wanted.push([`pool:${pool}:concurrency`, change.concurrency])
  return wanted.map(([id, limit]) => {
    const base = configured.find((candidate) => candidate.id === id)?.limit
    if (base === undefined) {
      const known = configured.map((candidate) => candidate.id).join(', ')
      throw refused(`expected one of the limits ${known}, got ${id}`)
    }
    if (!Number.isSafeInteger(limit) || limit < 1) {
      throw refused(`${id}: expected a whole number ≥ 1, got ${limit}`)
    }
    return { id, base, limit }
  })
}

/** A misspelt limit would stay as it was, and nobody be told. */
function checkShape(change: unknown): void {
  if (typeof change !== 'object' || change === null) {
    throw refused(`expected an object with requests, tokens or concurrency, got ${change}`)
  }
  const stranger = Object.keys(change).find((key) => !DIMENSIONS.includes(key))
  if (stranger !== undefined) throw refused(`expected requests, tokens or concurrency, got ${stranger}`)
}

function refused(message: string): HeadgateError {
  return new HeadgateError('CONFIG_INVALID', `updatePool: ${message}`)
}
