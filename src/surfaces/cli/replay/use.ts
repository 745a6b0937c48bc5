import type { Rate } from '../../../durations.js'
import type { ArrivalRecord } from '../../../testing/index.js'
import type { ReplayLimits } from './limits.js'

/** One request's time line, in wall ms since the replay's start. */
export interface Span {
  readonly dueMs: number
  /** When its last call began: until then it waited. */
  readonly calledMs: number
  readonly endedMs: number
  /** Whether the provider let its last call in. */
  readonly accepted: boolean
}

type Interval = readonly [fromMs: number, toMs: number]

interface Dimension {
  readonly windowMs: number
  /** The share of the limit in use in the bin that ends then; 1 is all of it. */
  useAt(endMs: number, binMs: number): number
  /** The same over the whole replay. */
  meanUse(durationMs: number): number
}

/**
 * Utilisation while backlogged. Backlogged are the stretches throughout which some request, somewhere in the fleet, was
 * due and its last call had not begun. Each is cut from its start into bins as long as the shortest rate window, and what
 * is left over at its end is dropped. A bin's use is what the provider accepted in the window that ends with it (or, for
 * concurrency, the calls in flight during it) over the limit, of whichever limit was fullest; the result is the mean over
 * all bins. Without a single bin the fleet was never held back: then it is the mean use over the whole replay.
 */
export function utilisation(
  spans: readonly Span[],
  arrivals: readonly ArrivalRecord[],
  startWallMs: number,
  limits: ReplayLimits,
): number {
  const dimensions = dimensionsOf(spans, arrivals, startWallMs, limits)
  const binMs = Math.min(...dimensions.map(({ windowMs }) => windowMs))
  let sum = 0
  let bins = 0
  for (const [fromMs, toMs] of union(spans.map(({ dueMs, calledMs }) => [dueMs, calledMs]))) {
    for (let endMs = fromMs + binMs; endMs <= toMs; endMs += binMs) {
      sum += Math.max(...dimensions.map((one) => one.useAt(endMs, binMs)))
      bins++
    }
  }
  if (bins > 0) return sum / bins
  const durationMs = spans.reduce((latest, { endedMs }) => Math.max(latest, endedMs), 0)
  return Math.max(0, ...dimensions.map((one) => one.meanUse(durationMs)))
}

/** A bin without rate limits: long beside a call, short beside a replay. */
const CONCURRENCY_BIN_MS = 1_000

function dimensionsOf(
  spans: readonly Span[],
  arrivals: readonly ArrivalRecord[],
  startWallMs: number,
  { requests, tokens, concurrency }: ReplayLimits,
): Dimension[] {
  const accepted = arrivals.filter(({ code }) => code === null)
  const times = accepted.map(({ wallMs }) => wallMs - startWallMs)
  const rate = (amounts: readonly number[]) => {
    const sumBefore = prefixSums(amounts)
    const amountBefore = (atMs: number) => sumBefore[lowerBound(times, atMs)]!
    return ({ limit, windowMs }: Rate): Dimension => ({
      windowMs,
      useAt: (endMs) => (amountBefore(endMs) - amountBefore(endMs - windowMs)) / limit,
      meanUse: (durationMs) => sumBefore.at(-1)! / (limit * Math.max(1, durationMs / windowMs)),
    })
  }
  const dimensions = [
    ...requests.map(rate(accepted.map(() => 1))),
    ...tokens.map(rate(accepted.map((record) => record.tokens))),
  ]
  if (concurrency === undefined) return dimensions
  const windowMs = Math.min(CONCURRENCY_BIN_MS, ...dimensions.map((one) => one.windowMs))
  const busy = busyTime(spans.filter(({ accepted }) => accepted))
  // Callers see their calls a little longer than the provider does, who lets no more in than the limit.
  const use = (fromMs: number, toMs: number) =>
    Math.min(1, (busy(toMs) - busy(fromMs)) / (concurrency * (toMs - fromMs)))
  const slots: Dimension = {
    windowMs,
    useAt: (endMs, binMs) => use(endMs - binMs, endMs),
    meanUse: (durationMs) => use(0, Math.max(1, durationMs)),
  }
  return [...dimensions, slots]
}

/** The time that calls took up to an instant, summed over all calls. */
function busyTime(spans: readonly Span[]): (atMs: number) => number {
  const began = sorted(spans.map(({ calledMs }) => calledMs))
  const ended = sorted(spans.map(({ endedMs }) => endedMs))
  const beganBefore = prefixSums(began)
  const endedBefore = prefixSums(ended)
  const elapsed = (times: readonly number[], sums: readonly number[], atMs: number) => {
    const count = lowerBound(times, atMs)
    return count * atMs - sums[count]!
  }
  return (atMs) => elapsed(began, beganBefore, atMs) - elapsed(ended, endedBefore, atMs)
}

function union(intervals: readonly Interval[]): Interval[] {
  const merged: [number, number][] = []
  for (const [fromMs, toMs] of [...intervals].sort((a, b) => a[0] - b[0])) {
    const last = merged.at(-1)
    if (last && fromMs <= last[1]) last[1] = Math.max(last[1], toMs)
    else merged.push([fromMs, toMs])
  }
  return merged
}

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b)
}

/** `sums[i]` is the sum of the first i. */
function prefixSums(values: readonly number[]): number[] {
  const sums = [0]
  for (const value of values) sums.push(sums.at(-1)! + value)
  return sums
}

/** How many of the ascending values are below `bound`. */
function lowerBound(values: readonly number[], bound: number): number {
  let low = 0
  let high = values.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (values[middle]! < bound) low = middle + 1
    else high = middle
  }
  return low
}
