import type { ReplayLimits } from './limits.js'
import { costOf, type Trace } from './trace.js'

/** What was let in and still counts, oldest first. */
class SlidingLog {
  #entries: { readonly atMs: number; readonly amount: number }[] = []
  #first = 0
  #sum = 0

  constructor(
    private readonly limit: number,
    private readonly windowMs: number,
  ) {}

  /** The first instant from `atMs` on at which `amount` fits. Instants never go back. */
  earliest(atMs: number, amount: number): number {
    let whenMs = atMs
    for (let oldest = this.#entries[this.#first]; oldest; oldest = this.#entries[this.#first]) {
      const freeMs = oldest.atMs + this.windowMs
      if (freeMs > whenMs && this.#sum + amount <= this.limit) break
      whenMs = Math.max(whenMs, freeMs)
      this.#sum -= oldest.amount
      this.#first++
    }
    return whenMs
  }

  add(atMs: number, amount: number): void {
    this.#entries = this.#entries.slice(this.#first)
    this.#first = 0
    this.#entries.push({ atMs, amount })
    this.#sum += amount
  }
}

/**
 * The mean wait, in trace time, that the limits themselves impose: first come, first served by one scheduler that knows
 * everything at once and loses no moment. What a fleet adds to this is its own.
 */
export async function idealMeanWaitMs(trace: Trace, limits: ReplayLimits, latencyMs: number): Promise<number> {
  let waitedMs = 0
  let rows = 0
  for await (const waitMs of idealWaitsMs(trace, limits, latencyMs)) {
    waitedMs += waitMs
    rows++
  }
  return rows === 0 ? 0 : waitedMs / rows
}

/** Each row's wait, in the trace's order; rows that fit no limit are left out. */
export async function* idealWaitsMs(trace: Trace, limits: ReplayLimits, latencyMs: number): AsyncGenerator<number> {
  const { requests, tokens, concurrency } = limits
  const logs = [
    ...requests.map(({ limit, windowMs }) => ({ log: new SlidingLog(limit, windowMs), limit, ofTokens: false })),
    ...tokens.map(({ limit, windowMs }) => ({ log: new SlidingLog(limit, windowMs), limit, ofTokens: true })),
    // With one latency for all, a slot is a place in a window as long as a call.
    ...(concurrency === undefined || latencyMs <= 0
      ? []
      : [{ log: new SlidingLog(concurrency, latencyMs), limit: concurrency, ofTokens: false }]),
  ]
  let lastMs = 0
  for await (const row of trace.rows()) {
    const cost = costOf(row)
    const amountOf = (ofTokens: boolean) => (ofTokens ? cost : 1)
    if (logs.some(({ limit, ofTokens }) => amountOf(ofTokens) > limit)) continue
    let atMs = Math.max(lastMs, row.atMs)
    for (const { log, ofTokens } of logs) atMs = log.earliest(atMs, amountOf(ofTokens))
    for (const { log, ofTokens } of logs) log.add(atMs, amountOf(ofTokens))
    lastMs = atMs
    yield atMs - row.atMs
  }
}
