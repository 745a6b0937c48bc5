import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { DispatcherState } from '../../../machines/vocabulary.js'
import type { Clock, TimerHandle } from '../../clock.js'
import type { ResolvedConfig } from '../../config.js'
import { HeadgateError } from '../../errors.js'
import type { GateEmitter } from '../../events.js'
import type { GateStats } from '../../gate-types.js'
import type { GroupPlan } from '../../limits/plan.js'
import type { RedisConnection } from '../../limits/redis-store.js'
import type { GroupUsage } from '../../limits/store.js'
import type { Monitoring, MonitoringStats, RateLimitStats } from '../../monitoring.js'
import { MemoryAlertBook, RedisAlertBook } from '../alerts/alert-book.js'
import { Alerts } from '../alerts/alerts.js'
import type { FleetView } from '../alerts/rules.js'
import { type Alike, type Fleet, FleetBook } from './fleet-book.js'
import { operationsOf } from './operation.js'
import { Recorder } from './recorder.js'
import { lastHour, liveOf, poolsOf, processesOf, rateLimitStats, totalsOf, worstOf } from './report.js'
import { addCounts, type Counts, type LivePool, newTally, type PoolTally } from './tally.js'

/** Writes are so far apart at least; the first comes soon, so that a reader elsewhere sees it. */
const WRITE_EVERY_MS = 1_000
const WRITE_SOON_MS = 50
/** What is left is written at the end, if Redis takes it within this. */
const CLOSE_MS = 1_000
const MAX_WINDOW_MINUTES = 1_440
const MINUTE_MS = 60_000
/** What Redis has not got is kept for so long; older minutes count in the totals alone. */
const UNWRITTEN_MINUTES = 60

/** The gate as it stands; what only it can tell. */
export interface Watched {
  stats(): GateStats
  usage(): Promise<readonly GroupUsage[]>
}

export interface MonitorOptions {
  readonly config: ResolvedConfig
  readonly clock: Clock
  readonly events: GateEmitter
  readonly groups: readonly GroupPlan[]
  readonly connection: RedisConnection | undefined
}

/**
 * Counts what the gate tells of and answers for the whole fleet. Each process writes its own absolute counts to Redis, at
 * most once a second while something changes and when somebody asks; nothing at idle.
 */
export class Monitor implements Monitoring {
  readonly #options: MonitorOptions
  readonly #recorder: Recorder
  readonly #book: FleetBook | undefined
  readonly #id = randomUUID()
  readonly #who = { name: this.#id.slice(0, 8), host: hostname(), pid: process.pid }
  readonly #startedMs: number
  readonly #storeEvents = { up: () => void this.flush(), down: () => {}, wake: () => {} }
  readonly #alerts: Alerts
  #watched: Watched | undefined
  #timer: TimerHandle | undefined
  #lastWriteMs = Number.NEGATIVE_INFINITY
  #writing: Promise<boolean> | undefined
  #writingNext: Promise<boolean> | undefined
  #closed = false

  constructor(options: MonitorOptions) {
    this.#options = options
    const { config, clock, events, connection } = options
    this.#startedMs = clock.wallMs()
    const prices = [...config.pools].flatMap(([name, { prices }]) => (prices ? [[name, prices] as const] : []))
    this.#recorder = new Recorder({
      events,
      wallMs: () => clock.wallMs(),
      prices: new Map(prices),
      keepMinutes: connection ? UNWRITTEN_MINUTES : MAX_WINDOW_MINUTES,
      onChange: () => this.#writeSoon(),
    })
    if (connection) this.#book = new FleetBook(connection, config.namespace, this.#id, () => this.#write())
    this.#alerts = new Alerts({
      config: config.alerts,
      namespace: config.namespace,
      process: this.#who,
      clock,
      events,
      logger: config.logger,
      book: connection ? new RedisAlertBook(connection, config.namespace, this.#id) : new MemoryAlertBook(),
      look: (minutes) => this.#look(minutes),
      isIsolated: () => isIsolated(this.#gate.stats()),
    })
  }

  /** Starts; until then there is nobody to tell how things stand. */
  watch(watched: Watched): void {
    this.#watched = watched
    this.#options.connection?.listen(this.#storeEvents)
  }

  async stats(): Promise<MonitoringStats> {
    const { config, connection } = this.#options
    const own = this.#gate.stats()
    const fleet = await this.#fleet()
    const usage = await this.#gate.usage().catch(() => undefined)
    const sum = fleet ?? this.#alone()
    const operations = operationsOf(this.#options.groups, usage, own)
    return {
      generatedAt: new Date(sum.nowMs).toISOString(),
      namespace: config.namespace,
      store: connection ? 'redis' : 'memory',
      scope: fleet ? 'fleet' : 'process',
      state: stateOf(own),
      isolated: isIsolated(own) || (connection !== undefined && fleet === undefined),
      processes: processesOf(sum.members),
      totals: totalsOf(sum.totals.values()),
      pools: poolsOf(sum, config.pools.keys(), operations),
      alerts: await this.#alerts.list(sum.nowMs),
    }
  }

  async rateLimitStats(windowMinutes: number): Promise<RateLimitStats> {
    if (!(Number.isSafeInteger(windowMinutes) && windowMinutes >= 1 && windowMinutes <= MAX_WINDOW_MINUTES)) {
      const message = `windowMinutes: expected a whole number from 1 to ${MAX_WINDOW_MINUTES}, got ${String(windowMinutes)}`
      throw new HeadgateError('BAD_REQUEST', message)
    }
    const names = this.#options.config.pools.keys()
    try {
      if (this.#book) {
        await this.#gathered()
        const { minutes, nowMs } = await this.#book.readMinutes(windowMinutes)
        return rateLimitStats(minutes, names, { nowMs, windowMinutes, scope: 'fleet' })
      }
    } catch {
      // Redis can't be reached: what this process knows itself.
    }
    const { minutes, nowMs } = this.#recorder
    return rateLimitStats(minutes, names, { nowMs, windowMinutes, scope: 'process' })
  }

  async flush(): Promise<void> {
    await this.#write()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    const { clock, connection } = this.#options
    clock.clearTimeout(this.#timer)
    this.#alerts.close()
    connection?.unlisten(this.#storeEvents)
    let timer: TimerHandle
    const late = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, CLOSE_MS)
    })
    await this.#writing
    this.#closed = true
    await Promise.race([late, this.#write()])
    clock.clearTimeout(timer)
    await this.#book?.close()
  }

  get #gate(): Watched {
    if (!this.#watched) throw new Error('the monitor watches nothing yet')
    return this.#watched
  }

  /** The fleet's counts, complete; undefined while Redis can't be reached. */
  async #fleet(): Promise<Fleet | undefined> {
    if (!this.#book) return undefined
    try {
      await this.#gathered()
      return await this.#book.read()
    } catch {
      return undefined
    }
  }

  async #gathered(): Promise<void> {
    await Promise.all([this.#write(), this.#book!.gather()])
  }

  /** The fleet's numbers for its alerts; what was counted in the last second may be missing. */
  async #look(count: number): Promise<FleetView> {
    const { groups, config, connection } = this.#options
    if (this.#book) await this.#write()
    const fleet = this.#book ? await this.#book.read() : this.#alone()
    const { minutes, nowMs } = this.#book && count > 0 ? await this.#book.readMinutes(count) : this.#recorder
    const usage = await this.#gate.usage()
    const operations = operationsOf(groups, usage, this.#gate.stats())
    const lives = liveOf(fleet.members)
    const processes = connection ? processesOf(fleet.members).length : 1
    const last = Math.floor(nowMs / MINUTE_MS)
    return {
      pools: [...config.pools.keys()],
      recent: (pool, window) => {
        const sum = newTally()
        for (const [minute, tallies] of minutes) {
          const tally: PoolTally | undefined = minute > last - window ? tallies.get(pool) : undefined
          if (tally) addCounts(sum as Counts, tally as Counts)
        }
        return sum
      },
      lastHour429: (pool) => lastHour(fleet.totals.get(pool) ?? newTally(), fleet.nowMs),
      live: (pool) => lives.get(pool),
      places: (pool) => (config.pools.get(pool)?.maxQueued ?? 0) * processes,
      limits: (pool) => operations.get(pool)?.limits ?? [],
    }
  }

  #alone(): Fleet {
    const { totals, nowMs } = this.#recorder
    return { nowMs, totals, members: [{ ...this.#alike(), seenMsAgo: 0 }] }
  }

  #alike(): Alike {
    const own = this.#gate.stats()
    const pools: Record<string, LivePool> = {}
    for (const [name, { atGate, queued, active, states }] of Object.entries(own.pools)) {
      pools[name] = { atGate, queued, active, states }
    }
    return { ...this.#who, startedMs: this.#startedMs, state: stateOf(own), pools }
  }

  #writeSoon(): void {
    if (!this.#book || this.#timer !== undefined || this.#closed) return
    const { clock } = this.#options
    const delayMs = Math.max(WRITE_SOON_MS, this.#lastWriteMs + WRITE_EVERY_MS - clock.now())
    this.#timer = clock.setTimeout(() => {
      this.#timer = undefined
      void this.#write()
    }, delayMs)
  }

  /** Writes all that was counted until now; whether Redis has it. One at a time: who comes meanwhile shares the next. */
  #write(): Promise<boolean> {
    if (!this.#writing) {
      this.#writing = this.#writeNow().finally(() => {
        this.#writing = undefined
      })
      return this.#writing
    }
    this.#writingNext ??= this.#writing.then(() => {
      this.#writingNext = undefined
      return this.#write()
    })
    return this.#writingNext
  }

  async #writeNow(): Promise<boolean> {
    const book = this.#book
    if (!book?.reachable || !this.#watched) return false
    this.#lastWriteMs = this.#options.clock.now()
    let written = this.#recorder.take()
    try {
      const reply = await book.save(this.#closed ? undefined : this.#alike(), written)
      this.#recorder.offsetMs = reply.nowMs - this.#options.clock.wallMs()
      if (reply.type === 'saved') return true
      if (reply.type === 'folded') {
        book.nextGeneration()
        this.#recorder.deduct(reply.counted)
      }
      // A store that knows nothing of us lost what we wrote, or never had it.
      this.#recorder.markAll()
      written = this.#recorder.take()
      const { nowMs } = await book.save(this.#closed ? undefined : this.#alike(), written)
      this.#recorder.offsetMs = nowMs - this.#options.clock.wallMs()
      return true
    } catch {
      // Absolute counts: whether it arrived or not, they are written again with the next.
      this.#recorder.giveBack(written)
      // While Redis is away its return tells.
      if (book.reachable) this.#writeSoon()
      return false
    }
  }
}

function stateOf({ pools }: GateStats): DispatcherState {
  return worstOf(Object.values(pools).map(({ dispatcher }) => dispatcher)) ?? 'synced'
}

function isIsolated({ pools }: GateStats): boolean {
  return Object.values(pools).some(({ dispatcher }) => dispatcher === 'isolated')
}
