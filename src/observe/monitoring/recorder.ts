import type { PriceConfig } from '../../config.js'
import type { AttemptFailedEvent, GateEmitter, OutcomeEvent } from '../../events.js'
import { addCounts, bump, type Counts, newTally, note, type PoolTally } from './tally.js'

/** Names beyond this count as one: callers make up tenants, and providers codes. */
const MAX_NAMES = 100
const OTHERS = '(others)'
const HOUR_MINUTES = 60
const MINUTE_MS = 60_000

/** One tally that is to be written: a pool's totals, or its minute (since 1970). */
export interface Written {
  readonly pool: string
  readonly minute: number | undefined
  readonly tally: PoolTally
}

export interface RecorderOptions {
  readonly events: GateEmitter
  readonly wallMs: () => number
  readonly prices: ReadonlyMap<string, PriceConfig>
  /** Minutes kept. */
  readonly keepMinutes: number
  /** Something was counted. */
  readonly onChange: () => void
}

/** Counts what this process's gate tells of, in totals since its start and by minute. */
export class Recorder {
  readonly totals = new Map<string, PoolTally>()
  readonly minutes = new Map<number, Map<string, PoolTally>>()
  /** The store's clock ahead of ours, ms: minutes are the fleet's. */
  offsetMs = 0
  readonly #dirty = new Set<string>()
  readonly #dirtyMinutes = new Map<number, Set<string>>()

  constructor(private readonly options: RecorderOptions) {
    options.events.on('outcome', (event) => this.#outcome(event))
    options.events.on('attempt-failed', (event) => this.#attemptFailed(event))
  }

  get nowMs(): number {
    return this.options.wallMs() + this.offsetMs
  }

  get dirty(): boolean {
    return this.#dirty.size + this.#dirtyMinutes.size > 0
  }

  /** What changed since it was last taken. */
  take(): Written[] {
    const written: Written[] = []
    for (const pool of this.#dirty) written.push({ pool, minute: undefined, tally: this.totals.get(pool)! })
    for (const [minute, pools] of this.#dirtyMinutes) {
      for (const pool of pools) {
        const tally = this.minutes.get(minute)?.get(pool)
        if (tally) written.push({ pool, minute, tally })
      }
    }
    this.#dirty.clear()
    this.#dirtyMinutes.clear()
    return written
  }

  /** It was not written. */
  giveBack(written: readonly Written[]): void {
    for (const { pool, minute } of written) this.#mark(pool, minute)
  }

  /** The store lost it all. */
  markAll(): void {
    for (const pool of this.totals.keys()) this.#mark(pool, undefined)
    for (const [minute, pools] of this.minutes) for (const pool of pools.keys()) this.#mark(pool, minute)
  }

  /** What the store has counted for good already leaves the totals, by pool. */
  deduct(counted: Readonly<Record<string, Counts>>): void {
    for (const [pool, counts] of Object.entries(counted)) {
      const total = this.totals.get(pool)
      if (!total) continue
      addCounts(total as Counts, counts, -1)
      this.#mark(pool, undefined)
    }
  }

  #outcome(event: OutcomeEvent): void {
    const { pool, status, via, tenant, queuedMs, waitedMs, calledMs, backedOffMs } = event
    const minute = this.#minuteNow()
    const total = this.#total(pool)
    for (const tally of [total, this.#ofMinute(minute, pool)]) {
      bump(tally.outcomes, status)
      if (via !== undefined && status === 'degraded') bump(tally.via, via)
      if (status !== 'cancelled') note(tally.waits, queuedMs + waitedMs)
      if (status === 'completed') {
        note(tally.latencies, queuedMs + waitedMs + calledMs + backedOffMs)
      }
      if (status === 'completed' && via === undefined) {
        tally.tokens.estimated += event.estimatedTokens
        tally.tokens.used += event.usedTokens
        tally.tokens.refunded += event.refundedTokens
      }
    }
    const its = entryOf(total.tenants, tenant)
    bump(its, status)
    bump(its, 'tokensUsed', event.usedTokens)
    const { promptTokens, completionTokens } = event
    const price = this.options.prices.get(pool)
    if (price && promptTokens !== undefined && completionTokens !== undefined) {
      const amount = promptTokens * price.promptPer1M + completionTokens * price.completionPer1M
      bump(total.cost, price.currency, Math.round(amount * 1_000))
    }
    this.#mark(pool, minute)
    this.#mark(pool, undefined)
    this.options.onChange()
  }

  #attemptFailed({ pool, status, providerCode = '429' }: AttemptFailedEvent): void {
    if (status !== 429) return
    const minute = this.#minuteNow()
    const total = this.#total(pool)
    const code = nameIn(total.provider429, providerCode)
    bump(total.provider429, code)
    bump(entryOf(total.recent429, String(minute), Number.POSITIVE_INFINITY), code)
    for (const old of Object.keys(total.recent429)) {
      if (Number(old) <= minute - HOUR_MINUTES) delete total.recent429[old]
    }
    bump(this.#ofMinute(minute, pool).provider429, code)
    this.#mark(pool, minute)
    this.#mark(pool, undefined)
    this.options.onChange()
  }

  #minuteNow(): number {
    return Math.floor(this.nowMs / MINUTE_MS)
  }

  #total(pool: string): PoolTally {
    let tally = this.totals.get(pool)
    if (!tally) {
      tally = newTally()
      this.totals.set(pool, tally)
    }
    return tally
  }

  #ofMinute(minute: number, pool: string): PoolTally {
    let pools = this.minutes.get(minute)
    if (!pools) {
      for (const old of this.minutes.keys()) if (old <= minute - this.options.keepMinutes) this.minutes.delete(old)
      pools = new Map()
      this.minutes.set(minute, pools)
    }
    let tally = pools.get(pool)
    if (!tally) {
      tally = newTally()
      pools.set(pool, tally)
    }
    return tally
  }

  #mark(pool: string, minute: number | undefined): void {
    if (minute === undefined) this.#dirty.add(pool)
    else {
      const pools = this.#dirtyMinutes.get(minute)
      if (pools) pools.add(pool)
      else this.#dirtyMinutes.set(minute, new Set([pool]))
    }
  }
}

function nameIn(known: Readonly<Record<string, unknown>>, name: string, max = MAX_NAMES): string {
  return name in known || max === Number.POSITIVE_INFINITY || Object.keys(known).length < max ? name : OTHERS
}

function entryOf(entries: Record<string, Record<string, number>>, name: string, max = MAX_NAMES) {
  const kept = nameIn(entries, name, max)
  let entry = entries[kept]
  if (!entry) {
    entry = Object.create(null) as Record<string, number>
    entries[kept] = entry
  }
  return entry
}
