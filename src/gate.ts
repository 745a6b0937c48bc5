import type { OutcomeStatus } from '../machines/vocabulary.js'
import { type AdmissionParts, Admissions } from './admission.js'
import type { Dispatcher } from './dispatch/dispatcher.js'
import { Caller, unwrap } from './caller.js'
import { parseDurationMs } from './durations.js'
import { HeadgateError } from './errors.js'
import type { GateEvents } from './events.js'
import { countCode, limitStatsOf } from './gate-stats.js'
import type { GateStats, LimitChange, ModelStats, PoolStats, WaitCost } from './gate-types.js'
import { HttpDesk } from './http/desk.js'
import { type Route, routesOf, routeTo } from './http/routes.js'
import { type GovernedFetch, governedFetch } from './http/governed-fetch.js'
import { type ApiInput, type CallInput, type ChatCompletion, type ChatInput, named } from './intake/input.js'
import { movesOf } from './limit-change.js'
import type { RedisConnection } from './limits/redis-store.js'
import type { GroupUsage } from './limits/store.js'
import type { Monitoring, MonitoringStats, RateLimitStats } from './monitoring.js'
import type { InspectionWatch } from './request/inspection.js'
import type { LiveRequest } from './request/live.js'
import type { GateRequest } from './request/request.js'
import type { RetryBudget } from './request/retry-budget.js'
import type { RunContext } from './request/work.js'

/** Leaves a command the rest of 5 s for its own start. */
const READY_TIMEOUT_MS = 4_500
/** How long `close` waits for cut calls to give their slots back; what is left returns with the lease. */
const CLOSE_TIMEOUT_MS = 2_000

export interface GateParts extends AdmissionParts {
  readonly dispatchers: readonly Dispatcher[]
  readonly connection: RedisConnection | undefined
  /** Undefined where it is turned off. */
  readonly monitor: Monitoring | undefined
  readonly retryBudget: Pick<RetryBudget, 'counts'>
}

/** Governs calls: see `createHeadgate`. */
export class Headgate {
  readonly #parts: GateParts
  readonly #admissions: Admissions
  readonly #counts = new Map<string, { outcomes: Record<OutcomeStatus, number>; provider429: Record<string, number> }>()
  #closed: Promise<void> | undefined
  #desk: HttpDesk | undefined
  #routes: ReadonlyMap<string, Route> | undefined

  constructor(parts: GateParts) {
    this.#parts = parts
    this.#admissions = new Admissions(parts)
    for (const name of parts.pools.keys()) {
      const outcomes = { completed: 0, degraded: 0, failed: 0, cancelled: 0, expired: 0 }
      this.#counts.set(name, { outcomes, provider429: Object.create(null) })
    }
    parts.events.on('outcome', ({ pool, status }) => {
      this.#counts.get(pool)!.outcomes[status]++
    })
    parts.events.on('attempt-failed', ({ pool, status, providerCode = '429' }) => {
      if (status !== 429) return
      countCode(this.#counts.get(pool)!.provider429, providerCode)
    })
    for (const dispatcher of parts.dispatchers) dispatcher.start()
  }

  /**
   * Spawns a request. Resolves when it holds a place in its pool's bounded queue: that is the backpressure.
   * Rejects with a HeadgateError when it was never accepted: BAD_REQUEST at once for what can't be served,
   * CANCELLED, DEADLINE_EXCEEDED or QUEUE_FULL while it waited at the gate.
   */
  async spawn(input: ChatInput | ApiInput): Promise<GateRequest> {
    return (await this.#admissions.post(input).enter()).request
  }

  /** Spawns a request if there is a place now; undefined at once when the queue is full. */
  trySpawn(input: ChatInput | ApiInput): GateRequest | undefined {
    return this.#admissions.post(input).tryEnter()?.request
  }

  /**
   * What `trySpawn` has no time for: a request that needs no place, for others of the fleet know its answer (`cache` with
   * `store: 'redis'`). Undefined where none does, within 50 ms or so. Rejects with BAD_REQUEST as `spawn` does.
   */
  async spawnKnown(input: ChatInput | ApiInput): Promise<GateRequest | undefined> {
    return (await this.#admissions.post(input).known?.())?.request
  }

  /** Spawns and unwraps: the provider's response (or the degraded answer), or a thrown HeadgateError. */
  async complete<T = ChatCompletion>(input: ChatInput): Promise<T> {
    if (input?.stream ?? input?.body?.stream) {
      throw new HeadgateError('BAD_REQUEST', 'stream: complete answers with the whole; use spawn')
    }
    return unwrap(await (await this.spawn(input)).outcome) as T
  }

  /**
   * Governs any asynchronous function: it runs when the pool permits, again when it fails in a way that a retry may
   * mend, and its value is returned. What it throws for good arrives as a HeadgateError with that as its `cause`.
   */
  run<T>(input: CallInput, fn: (context: RunContext) => Promise<T>): Promise<T> {
    return new Promise<unknown>((resolve, reject) => {
      this.#admissions.run(input, fn).enterFor(new Caller(resolve, reject))
    }) as Promise<T>
  }

  /**
   * A `fetch` for an SDK (`new OpenAI({ fetch: gate.fetch('glm'), maxRetries: 0 })`): its calls are governed and go to the
   * pool's provider with the pool's key. Without a pool each call's model says where, as for `headgate serve`. It resolves as `headgate serve` answers, and rejects only on abort.
   */
  fetch(pool?: string): GovernedFetch {
    const route = pool === undefined ? undefined : routeTo(this.#pool(pool).runtime.config)
    this.#desk ??= new HttpDesk(this, { warn: (message) => process.emitWarning(message) })
    this.#routes ??= routesOf(this.#parts.config.pools.values())
    return governedFetch(this.#desk, route ?? this.#routes)
  }

  /** Subscribes to the gate's events; returns the function that unsubscribes. */
  on<K extends keyof GateEvents>(event: K, listener: GateEvents[K]): () => void {
    this.#parts.events.on(event, listener as never)
    return () => this.#parts.events.off(event, listener as never)
  }

  /** This process's view, at no cost to the store. */
  stats(): GateStats {
    const states = this.#parts.runner.live.count()
    const pools: Record<string, PoolStats> = {}
    for (const [name, { runtime, intake, dispatcher, estimator, shadow }] of this.#parts.pools) {
      const { outcomes, provider429 } = this.#counts.get(name)!
      pools[name] = {
        dispatcher: dispatcher.state,
        atGate: intake.atGate,
        queued: intake.queued,
        active: intake.active,
        states: Object.fromEntries(states.get(name) ?? []),
        outcomes: { ...outcomes },
        provider429: { ...provider429 },
        ...limitStatsOf(dispatcher, runtime.plan),
        estimates: estimator.stats,
        ...(shadow && { shadow: shadow.counts }),
      }
    }
    let roundTrips = 0
    let granted = 0
    for (const { counters } of this.#parts.dispatchers) {
      roundTrips += counters.roundTrips
      granted += counters.granted
    }
    const models: Record<string, ModelStats> = {}
    for (const [model, { pools, intake }] of this.#parts.routes) {
      const names = pools.map(({ runtime }) => runtime.config.name)
      models[model] = { pools: names, atGate: intake.atGate, queued: intake.queued, active: intake.active }
    }
    const { answers, retryBudget } = this.#parts
    return {
      pools,
      models,
      roundTrips,
      granted,
      retries: retryBudget.counts,
      ...(answers && { cache: answers.counts }),
    }
  }

  /** Requests of this process that are not done, oldest first, at most `limit`. */
  requests(limit = 100): LiveRequest[] {
    return this.#parts.runner.live.list(limit)
  }

  /**
   * Watches requests' machines by XState's inspection: `watch` is asked once for each request, live or new, for its observer
   * (undefined leaves it alone). Returns the function that ends it; until the first and after the last watch it costs nothing.
   * Throws CONFIG_INVALID unless the gate was made with `inspect`. Events carry payloads as they come; `headgate/inspector`
   * takes them out.
   */
  inspect(watch: InspectionWatch): () => void {
    if (this.#parts.config.inspect !== false) return this.#parts.runner.inspection.watch(watch)
    throw new HeadgateError('CONFIG_INVALID', 'inspect: expected true to watch machines, got false')
  }

  /**
   * What the whole fleet has spent of each limit, read from the store. What ended just now travels there with the next
   * exchange: its slot and its refund may still count; without Redis until the event loop has turned once.
   */
  async usage(): Promise<readonly GroupUsage[]> {
    this.#checkOpen()
    return Promise.all(this.#parts.dispatchers.map((dispatcher) => dispatcher.usage()))
  }

  /** The whole fleet's counts, waits, limits, processes and alerts; of this process alone while Redis can't be reached. */
  async monitoring(): Promise<MonitoringStats> {
    return this.#monitor.stats()
  }

  /** What happened in each of the last minutes (up to 1440), fleet-wide. */
  async rateLimitStats({ windowMinutes = 60 }: { windowMinutes?: number } = {}): Promise<RateLimitStats> {
    return this.#monitor.rateLimitStats(windowMinutes)
  }

  /**
   * How long a request of this cost would wait for its grant if it came now, in ms: an estimate by what is known of the
   * fleet's queues and windows. `Infinity` while the pool is paused, or a limit moved below the cost. A model that several
   * pools serve goes by its name, too. Throws BAD_REQUEST for what `spawn` would refuse: a cost above a configured limit.
   */
  estimateWait(pool: string, cost: WaitCost = {}): number {
    return this.#admissions.estimateMs({ ...this.#byName(pool), ...cost })
  }

  /** Resolves when the store has answered; rejects with STORE_UNAVAILABLE within 5 s, naming host and cause. */
  async ready(): Promise<void> {
    const { clock, connection, dispatchers } = this.#parts
    this.#checkOpen()
    let timer: unknown
    const late = new Promise<never>((_, reject) => {
      timer = clock.setTimeout(() => {
        reject(connection?.unavailable() ?? new HeadgateError('STORE_UNAVAILABLE', 'the store does not answer'))
      }, READY_TIMEOUT_MS)
    })
    try {
      await Promise.race([late, Promise.all(dispatchers.map((dispatcher) => dispatcher.joined))])
    } finally {
      clock.clearTimeout(timer)
    }
  }

  /** Whether this process may send anything now: false while its store is unreachable or still learning. */
  get sending(): boolean {
    return this.#parts.config.shadow || this.#parts.dispatchers.some(({ canGrant }) => canGrant)
  }

  /** Moves limits of a pool for the whole fleet. Each must be one the pool is configured with. */
  async updatePool(name: string, change: LimitChange): Promise<void> {
    const { dispatcher } = this.#pool(name)
    this.#checkOpen()
    for (const move of movesOf(name, change, dispatcher.spec.limits)) {
      await dispatcher.control({ type: 'limit', ...move })
    }
  }

  /** Stops granting in a pool, fleet-wide, until `resume`; calls in flight go on. */
  async pause(pool: string): Promise<void> {
    const { dispatcher } = this.#pool(pool)
    this.#checkOpen()
    await dispatcher.control({ type: 'pause', pool })
  }

  /** Ends a pause or a cool-down, fleet-wide. */
  async resume(pool: string): Promise<void> {
    const { dispatcher } = this.#pool(pool)
    this.#checkOpen()
    await dispatcher.control({ type: 'resume', pool })
  }

  /**
   * Accepts nothing new, turns the gate away and waits for what was accepted.
   * Rejects with TIMEOUT when that takes longer than `timeout` (ms or a duration); then it goes on all the same.
   */
  async drain({ timeout = '30s' }: { timeout?: number | string } = {}): Promise<void> {
    const { dispatchers, clock, runner } = this.#parts
    const timeoutMs = parseDurationMs(timeout)
    const reason = new HeadgateError('CANCELLED', 'the gate is draining and accepts nothing new', { retryable: true })
    this.#closeIntakes(reason)
    for (const dispatcher of dispatchers) dispatcher.drain()
    const finished = runner.idle().then(() => Promise.all(dispatchers.map((dispatcher) => dispatcher.idle())))
    let timer: unknown
    const late = new Promise<never>((_, reject) => {
      timer = clock.setTimeout(() => {
        const message = `drain: ${runner.size} requests were not done after ${timeoutMs} ms`
        reject(new HeadgateError('TIMEOUT', message))
      }, timeoutMs)
    })
    await Promise.race([finished, late]).finally(() => clock.clearTimeout(timer))
    await this.#parts.monitor?.flush()
  }

  /** Cancels what is left, gives back what it held, and disconnects. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const { dispatchers, clock, runner, caller, connection } = this.#parts
    const reason = new HeadgateError('CANCELLED', 'the gate is closed')
    this.#closeIntakes(reason)
    runner.cancelAll()
    await caller.close()
    let timer: unknown
    const late = new Promise<void>((resolve) => {
      timer = clock.setTimeout(resolve, CLOSE_TIMEOUT_MS)
    })
    await Promise.race([late, Promise.all(dispatchers.map((dispatcher) => dispatcher.idle()))])
    clock.clearTimeout(timer)
    await Promise.all(dispatchers.map((dispatcher) => dispatcher.stop()))
    await this.#parts.monitor?.close()
    connection?.close()
  }

  get #monitor(): Monitoring {
    const { monitor } = this.#parts
    if (!monitor) throw new HeadgateError('BAD_REQUEST', 'this gate was created with monitoring: false')
    return monitor
  }

  /** A closed gate is no member of the fleet any more: what it would say reaches nobody. */
  #checkOpen(): void {
    if (this.#closed) throw new HeadgateError('CANCELLED', 'the gate is closed')
  }

  #closeIntakes(reason: HeadgateError): void {
    const { pools, routes } = this.#parts
    for (const { intake } of [...pools.values(), ...routes.values()]) intake.close(reason)
  }

  /** A model that several pools serve goes by its name, like a pool. */
  #byName(name: string): Pick<CallInput, 'pool' | 'model'> {
    const { pools, routes } = this.#parts
    return !pools.has(name) && routes.has(name) ? { model: name } : { pool: name }
  }

  #pool(name: string) {
    return named('pool', name, this.#parts.pools)
  }
}
