/** One request as the provider saw it. */
export interface ArrivalRecord {
  /** When its headers arrived; monotonic ms, with fractions. */
  readonly atMs: number
  readonly wallMs: number
  readonly promptTokens: number
  /** What is counted on arrival: prompt and `max_tokens`. */
  readonly tokens: number
  /** In flight just after it arrived, itself included. */
  readonly inFlight: number
  /** The caller's `x-headgate-request-id`. */
  readonly id: string | null
  /** 0 while it runs; 499 when the caller hung up. */
  status: number
  /** The provider's error code, if it was refused or failed. */
  code: string | null
}

export interface WindowReport {
  readonly limit: 'requests' | 'tokens'
  readonly windowMs: number
  readonly allowed: number
  /** The most that arrived in any window of that length. */
  readonly worst: number
  readonly ratio: number
}

export interface SimulatorReport {
  readonly requests: number
  readonly accepted: number
  readonly errorsByCode: Readonly<Record<string, number>>
  readonly errors429ByCode: Readonly<Record<string, number>>
  /** The largest ratio of `windows`; 0 without rate limits. */
  readonly worstWindowRatio: number
  readonly windows: readonly WindowReport[]
  readonly maxInFlight: number
  readonly firstAtMs: number
  readonly lastAtMs: number
  /** Arrivals beyond what the log holds: then everything above is about its beginning only. */
  readonly notLogged: number
}

/**
 * The most that arrives in any window (t − windowMs, t], over all t: exact, one pass with two pointers.
 * `records` are in order of arrival.
 */
export function worstWindow<T extends { readonly atMs: number }>(
  records: readonly T[],
  windowMs: number,
  weight: (record: T) => number,
): number {
  let worst = 0
  let sum = 0
  let first = 0
  for (const record of records) {
    sum += weight(record)
    while (records[first]!.atMs <= record.atMs - windowMs) sum -= weight(records[first++]!)
    worst = Math.max(worst, sum)
  }
  return worst
}

export function reportOf(
  log: readonly ArrivalRecord[],
  limits: readonly { readonly dimension: 'requests' | 'tokens'; readonly limit: number; readonly windowMs: number }[],
  notLogged: number,
): SimulatorReport {
  const errorsByCode: Record<string, number> = {}
  const errors429ByCode: Record<string, number> = {}
  let accepted = 0
  let maxInFlight = 0
  for (const { status, code, inFlight } of log) {
    maxInFlight = Math.max(maxInFlight, inFlight)
    if (code === null) accepted++
    else errorsByCode[code] = (errorsByCode[code] ?? 0) + 1
    if (code !== null && status === 429) errors429ByCode[code] = (errors429ByCode[code] ?? 0) + 1
  }
  const windows = limits.map(({ dimension, limit, windowMs }) => {
    const worst = worstWindow(log, windowMs, (record) => (dimension === 'requests' ? 1 : record.tokens))
    return { limit: dimension, windowMs, allowed: limit, worst, ratio: worst / limit }
  })
  return {
    requests: log.length,
    accepted,
    errorsByCode,
    errors429ByCode,
    worstWindowRatio: Math.max(0, ...windows.map(({ ratio }) => ratio)),
    windows,
    maxInFlight,
    firstAtMs: log[0]?.atMs ?? 0,
    lastAtMs: log.at(-1)?.atMs ?? 0,
    notLogged,
  }
}
