import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { GateEvents } from '../events.js'
import type { GateStats } from '../gate-types.js'

/** What is measured: a gate. */
export interface Measurable {
  on<K extends keyof GateEvents>(event: K, listener: GateEvents[K]): () => void
  stats(): GateStats
}

export interface GateMetrics {
  /** For who adds metrics of his own, or merges registries. */
  readonly registry: Registry
  readonly contentType: string
  /** The text that Prometheus scrapes. */
  text(): Promise<string>
  /** Stops counting. */
  close(): void
}

/** Callers make up tenants and providers codes: beyond so many of each the rest counts as one. */
const MAX_NAMES = 100
const OTHERS = 'others'
const WAIT_BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]
const CALL_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600]

/**
 * Prometheus metrics of one process's gate, in a registry of their own. Counters and histograms follow its events, gauges
 * are read when scraped.
 */
export function gateMetrics(gate: Measurable): GateMetrics {
  const registry = new Registry()
  const registers = [registry]
  const requests = new Counter({
    name: 'headgate_requests_total',
    help: 'Requests that ended, by outcome; via: cache, fallback or message, where that answered them.',
    labelNames: ['pool', 'tenant', 'status', 'via'],
    registers,
  })
  const failures = new Counter({
    name: 'headgate_failed_attempts_total',
    help: "Attempts that failed, retried or not, by Headgate's code, the HTTP status and the provider's code.",
    labelNames: ['pool', 'code', 'http_status', 'provider_code'],
    registers,
  })
  const tokens = new Counter({
    name: 'headgate_llm_tokens_total',
    help: 'LLM tokens of completed requests: estimated before, used in the end, refunded; prompt and completion as the provider counted.',
    labelNames: ['pool', 'kind'],
    registers,
    // Summed up until somebody looks: five labelled counters a request would be the most of measuring it.
    collect() {
      for (const [pool, sums] of spent) {
        for (const [kind, sum] of Object.entries(sums)) tokens.inc({ pool, kind }, sum)
      }
      spent.clear()
    },
  })
  const spent = new Map<string, Record<string, number>>()
  const waits = new Histogram({
    name: 'headgate_wait_seconds',
    help: 'From the call of spawn to the permission, without back-off and call.',
    labelNames: ['pool'],
    buckets: WAIT_BUCKETS,
    registers,
  })
  const calls = new Histogram({
    name: 'headgate_call_seconds',
    help: 'Time in calls of a request, over all its attempts.',
    labelNames: ['pool'],
    buckets: CALL_BUCKETS,
    registers,
  })
  const alerts = new Counter({
    name: 'headgate_alerts_total',
    help: 'Alerts that began, told by this process.',
    labelNames: ['rule', 'pool'],
    registers,
  })
  const tenants = new Names()
  const codes = new Names()
  const statuses = new Names()
  const stops = [
    gate.on('outcome', (event) => {
      const { pool, status, via = '' } = event
      requests.inc({ pool, tenant: tenants.of(event.tenant), status, via })
      if (status !== 'cancelled') waits.observe({ pool }, (event.queuedMs + event.waitedMs) / 1_000)
      if (event.attempts > 0) calls.observe({ pool }, event.calledMs / 1_000)
      if (status !== 'completed' || event.via !== undefined) return
      let sums = spent.get(pool)
      if (!sums) {
        sums = {}
        spent.set(pool, sums)
      }
      add(sums, 'estimated', event.estimatedTokens)
      add(sums, 'used', event.usedTokens)
      if (event.refundedTokens > 0) add(sums, 'refunded', event.refundedTokens)
      if (event.promptTokens !== undefined) add(sums, 'prompt', event.promptTokens)
      if (event.completionTokens !== undefined) add(sums, 'completion', event.completionTokens)
    }),
    gate.on('attempt-failed', ({ pool, code, status, providerCode }) => {
      // What a function threw may have any number for its status.
      const httpStatus = statuses.of(String(status ?? ''))
      failures.inc({ pool, code, http_status: httpStatus, provider_code: codes.of(providerCode ?? httpStatus) })
    }),
    gate.on('alert', ({ rule, pool = '', state }) => {
      if (state === 'firing') alerts.inc({ rule, pool })
    }),
  ]
  addGauges(gate, registers)
  return {
    registry,
    contentType: registry.contentType,
    text: () => registry.metrics(),
    close: () => {
      for (const stop of stops) stop()
      registry.clear()
    },
  }
}

/** How things stand, read when scraped. */
function addGauges(gate: Measurable, registers: Registry[]): void {
  const trips = new Counter({
    name: 'headgate_store_round_trips_total',
    help: 'Exchanges with the store.',
    registers,
    // Collected before what is registered after it: one reading serves all.
    collect() {
      const { pools, granted, roundTrips } = gate.stats()
      trips.reset()
      trips.inc(roundTrips)
      grants.reset()
      grants.inc(granted)
      states.reset()
      ceilings.reset()
      for (const [pool, stats] of Object.entries(pools)) {
        for (const [state, count] of Object.entries(stats.states)) states.set({ pool, state }, count)
        queued.set({ pool }, stats.queued)
        atGate.set({ pool }, stats.atGate)
        coolDown.set({ pool }, stats.coolDownMs / 1_000)
        synced.set({ pool }, stats.dispatcher === 'synced' ? 1 : 0)
        for (const [limit, ceiling] of Object.entries(stats.ceilings)) ceilings.set({ limit }, ceiling)
      }
    },
  })
  const grants = new Counter({ name: 'headgate_grants_total', help: 'Permissions received.', registers })
  const gauge = (name: string, help: string, ...labelNames: string[]) =>
    new Gauge({ name: `headgate_${name}`, help, labelNames, registers })
  const states = gauge('requests_in_state', 'Requests accepted and not done, by state.', 'pool', 'state')
  const queued = gauge('queue_length', 'Requests in the queue.', 'pool')
  const atGate = gauge('producers_waiting', 'Producers waiting for a place in the queue.', 'pool')
  const coolDown = gauge('cool_down_seconds', "Left of the fleet's cool-down; +Inf while paused.", 'pool')
  const ceilings = gauge(
    'limit_ceiling',
    'What the provider showed a limit to be, where lower than configured.',
    'limit',
  )
  const synced = gauge('synced', 'Whether the dispatcher of the pool is in step with the store.', 'pool')
}

function add(sums: Record<string, number>, kind: string, tokens: number): void {
  sums[kind] = (sums[kind] ?? 0) + tokens
}

/** The first so many names; the others are one. */
class Names {
  readonly #known = new Set<string>()

  of(name: string): string {
    if (this.#known.has(name)) return name
    if (this.#known.size >= MAX_NAMES) return OTHERS
    this.#known.add(name)
    return name
  }
}
