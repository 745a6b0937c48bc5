// What is counted: nested counts that add up, over processes and over minutes. Pure.

/** Counts by name, nested. */
export interface Counts {
  [name: string]: number | Counts
}

/** Times by buckets that grow by 4 %, so that any two can be merged and a percentile is off by 2 % at most. */
// A type: interfaces aren't Counts.
export type Histogram = {
  count: number
  sumMs: number
  at: Record<string, number>
}

/** What one process counted in one pool, since its start or in one minute. */
export type PoolTally = {
  outcomes: Record<string, number>
  /** Of the degraded ones. */
  via: Record<string, number>
  provider429: Record<string, number>
  waits: Histogram
  latencies: Histogram
  tokens: { estimated: number; used: number; refunded: number }
  /** Of totals alone. Currency → billionths. */
  cost: Record<string, number>
  tenants: Record<string, Record<string, number>>
  /** Minute since 1970 → code → count, of the last hour. */
  recent429: Record<string, Record<string, number>>
}

/** What is under way in one pool. */
export interface LivePool {
  readonly atGate: number
  readonly queued: number
  readonly active: number
  readonly states: Readonly<Record<string, number>>
}

const LEAST_MS = 0.1
const GROWTH = 1.04
const LOG_GROWTH = Math.log(GROWTH)
/** A day: what lasts longer counts as a day. */
const MAX_BUCKET = Math.ceil(Math.log(86_400_000 / LEAST_MS) / LOG_GROWTH)

/** Names come from outside, and `__proto__` is one: the objects have no prototype. */
const dictionary = <T>(): Record<string, T> => Object.create(null)

export function newTally(): PoolTally {
  return {
    outcomes: dictionary(),
    via: dictionary(),
    provider429: dictionary(),
    waits: newHistogram(),
    latencies: newHistogram(),
    tokens: { estimated: 0, used: 0, refunded: 0 },
    cost: dictionary(),
    tenants: dictionary(),
    recent429: dictionary(),
  }
}

function newHistogram(): Histogram {
  return { count: 0, sumMs: 0, at: dictionary() }
}

export function bump(counts: Record<string, number>, name: string, by = 1): void {
  counts[name] = (counts[name] ?? 0) + by
}

/** A time below a tenth of a ms counts as 0. */
export function note(histogram: Histogram, valueMs: number): void {
  histogram.count++
  histogram.sumMs += valueMs
  const bucket = valueMs <= LEAST_MS ? 0 : Math.ceil(Math.log(valueMs / LEAST_MS) / LOG_GROWTH)
  bump(histogram.at, String(Math.min(MAX_BUCKET, bucket)))
}

/** The value at a share of all, in ms; `null` for no values. */
export function percentile({ at, count }: Histogram, share: number): number | null {
  if (count === 0) return null
  const rank = Math.max(1, Math.ceil(share * count))
  let before = 0
  let last = 0
  const buckets = Object.keys(at)
    .map(Number)
    .sort((a, b) => a - b)
  for (const bucket of buckets) {
    before += at[bucket]!
    last = bucket
    if (before >= rank) break
  }
  return middleOf(last)
}

/** The value that is off by the same share at both ends of its bucket. */
function middleOf(bucket: number): number {
  if (bucket === 0) return 0
  const high = LEAST_MS * GROWTH ** bucket
  return (2 * high) / (1 + GROWTH)
}

/** Adds all of `from`, `sign` times. */
export function addCounts(into: Counts, from: Readonly<Counts>, sign: 1 | -1 = 1): void {
  for (const name of Object.keys(from)) {
    const value = from[name]!
    const former = into[name]
    if (typeof value === 'number') into[name] = (typeof former === 'number' ? former : 0) + sign * value
    else if (typeof former === 'object') addCounts(former, value, sign)
    else {
      const inner = dictionary<number | Counts>()
      into[name] = inner
      addCounts(inner, value, sign)
    }
  }
}

/** Answered by a model, of all that ended but cancelled ones; null for none. */
export function successRate({ outcomes, via }: Pick<PoolTally, 'outcomes' | 'via'>): number | null {
  const { completed = 0, degraded = 0, failed = 0, expired = 0 } = outcomes
  const all = completed + degraded + failed + expired
  return all === 0 ? null : (completed + (via.cache ?? 0) + (via.fallback ?? 0)) / all
}
