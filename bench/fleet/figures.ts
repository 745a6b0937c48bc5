import { seededRandom } from '../../src/testing/simulator/random.js'
import { silentCeiling } from './ceiling.js'
import { jain, quantile, worstWindow } from '../harness/stats.js'
import { type Measured, measure } from './measure.js'
import type { Load } from './protocol.js'

export interface Figure {
  readonly name: string
  readonly what: string
  readonly goal: string
  run(worker: string): Promise<Readonly<Record<string, number>>>
}

const MINUTE_MS = 60_000
const GUARD_MS = 150
/** Each arrival is delayed by up to the guard, on its way to the provider. */
const JITTER_SEED = 11

const LATENESS_RATE = 200
/** What a process runs first is slow: its code is not compiled yet. */
const WARM_UP_MS = 10_000

const oneTenant = (outstanding: number) => (): readonly Load[] => [{ tenant: 'default', weight: 1, outstanding }]

function arrivals({ sent }: Measured, ofTokens: boolean): [number, number][] {
  const random = seededRandom(JITTER_SEED)
  return sent.map(([atMs, tokens]) => [atMs + random() * GUARD_MS, ofTokens ? tokens : 1])
}

/** Share of the limit used while there is a backlog: in whole windows, from the second on. */
function utilisation({ sent, startMs }: Measured, limit: number, durationMs: number, ofTokens: boolean): number {
  const fromMs = startMs + MINUTE_MS
  const toMs = startMs + durationMs
  let used = 0
  for (const [atMs, tokens] of sent) if (atMs >= fromMs && atMs < toMs) used += ofTokens ? tokens : 1
  return used / ((limit * (toMs - fromMs)) / MINUTE_MS)
}

/** Most grants of one date, over all processes. */
function mostPerMs(sent: Measured['sent']): number {
  const counts = new Map<number, number>()
  for (const [atMs, , , lateMs] of sent) {
    const dateMs = Math.round(atMs - lateMs)
    counts.set(dateMs, (counts.get(dateMs) ?? 0) + 1)
  }
  return Math.max(...counts.values())
}

const common = (measured: Measured) => ({
  grants: measured.grants,
  voided: measured.voided,
  late: measured.late,
  roundTripsPerGrant: measured.roundTrips / measured.grants,
  redisUsPerGrant: measured.redisUs / measured.grants,
})

export const FIGURES: readonly Figure[] = [
  {
    name: 'requests',
    what: '4 processes, 1000 requests per minute, backlog from the first moment on, arrival jitter up to the guard',
    goal: 'worst window ≤ 1, utilisation ≥ 0.99, round trips per grant ≤ 0.1',
    async run(worker) {
      const durationMs = 4 * MINUTE_MS
      const limits = { requests: { limit: 1000, per: '1m' } }
      const pool = { limits, guardMs: GUARD_MS, adaptive: false }
      const measured = await measure({ processes: 4, pool, loads: oneTenant(2_000), durationMs }, worker)
      return {
        worstWindow: worstWindow(arrivals(measured, false), MINUTE_MS, 1000),
        utilisation: utilisation(measured, 1000, durationMs, false),
        ...common(measured),
      }
    },
  },
  {
    name: 'tokens',
    what: '4 processes, 100k LLM tokens per minute, costs uniform in 500–8000',
    goal: 'worst window ≤ 1, utilisation ≥ 0.97',
    async run(worker) {
      const durationMs = 6 * MINUTE_MS
      const limits = { tokens: { limit: 100_000, per: '1m' } }
      const pool = { limits, guardMs: GUARD_MS, adaptive: false }
      const fleet = { processes: 4, pool, loads: oneTenant(200), tokens: [500, 8000] as const, durationMs }
      const measured = await measure(fleet, worker)
      return {
        worstWindow: worstWindow(arrivals(measured, true), MINUTE_MS, 100_000),
        utilisation: utilisation(measured, 100_000, durationMs, true),
        ...common(measured),
      }
    },
  },
  {
    name: 'lateness',
    what: `4 processes, ${LATENESS_RATE} requests per second and as many waiting, spread evenly, no-op call: from the grant’s date to the call, once the code is warm`,
    goal: 'p50 ≤ 1 ms, p99 ≤ 5 ms, never early',
    async run(worker) {
      const limit = { limit: LATENESS_RATE, per: '1s' }
      const pool = { limits: { requests: limit }, guardMs: GUARD_MS, adaptive: false }
      const outstanding = 0.3 * LATENESS_RATE
      const fleet = { processes: 4, pool, loads: oneTenant(outstanding), rampMs: 1_200, durationMs: 30_000 }
      const measured = await measure(fleet, worker)
      const warmAtMs = measured.startMs + WARM_UP_MS
      const ofWarm = (isWarm: boolean) => measured.sent.filter(([atMs]) => atMs >= warmAtMs === isWarm)
      const late = (isWarm: boolean) => ofWarm(isWarm).map(([, , , lateMs]) => lateMs)
      const [cold, warm] = [late(false), late(true)]
      return {
        p50Ms: quantile(warm, 0.5),
        p99Ms: quantile(warm, 0.99),
        p99ColdMs: quantile(cold, 0.99),
        leastMs: Math.min(...warm, ...cold),
        mostPerMs: mostPerMs(ofWarm(true)),
        worstWindow: worstWindow(arrivals(measured, false), 1_000, LATENESS_RATE),
        ...common(measured),
      }
    },
  },
  {
    name: 'processes',
    what: '8 processes, one tenant, demand above the share of each, unequal; from the second window on: the first goes to whoever asks first',
    goal: 'Jain index ≥ 0.99',
    async run(worker) {
      const pool = { limits: { requests: { limit: 1_000, per: '10s' } }, guardMs: GUARD_MS, adaptive: false }
      const loads = (process: number) => oneTenant(300 + 300 * process)()
      const measured = await measure({ processes: 8, pool, loads, durationMs: 45_000 }, worker)
      const fromMs = measured.startMs + 10_000
      const later = measured.byProcess.map(({ sent }) => sent.filter(([atMs]) => atMs >= fromMs).length)
      const all = measured.byProcess.map(({ sent }) => sent.length)
      return { jain: jain(later), jainWithTheFirst: jain(all), ...common(measured) }
    },
  },
  {
    name: 'tenants',
    what: '4 processes, 5 tenants of weights 1–5, the third behind one process only',
    goal: 'Jain index by weight ≥ 0.99',
    async run(worker) {
      const pool = { limits: { requests: { limit: 1_000, per: '10s' } }, guardMs: GUARD_MS, adaptive: false }
      const loads = (process: number) =>
        [1, 2, 3, 4, 5]
          .filter((weight) => weight !== 3 || process === 0)
          .map((weight) => ({ tenant: `t${weight}`, weight, outstanding: 1_000 }))
      const measured = await measure({ processes: 4, pool, loads, durationMs: 45_000 }, worker)
      const shares = [1, 2, 3, 4, 5].map(
        (weight) => measured.sent.filter(([, , tenant]) => tenant === `t${weight}`).length / weight,
      )
      return { jain: jain(shares), ...common(measured) }
    },
  },
  {
    name: 'slots',
    what: '4 processes, 16 in flight, jobs of 20 ms',
    goal: 'slot utilisation ≥ 0.98',
    async run(worker) {
      const durationMs = 20_000
      const pool = { limits: { concurrency: 16 }, guardMs: GUARD_MS, adaptive: false }
      const measured = await measure({ processes: 4, pool, loads: oneTenant(30), callMs: 20, durationMs }, worker)
      const busyMs = measured.sent.reduce((sum, [, , , , callMs]) => sum + callMs, 0)
      const edges = measured.sent.flatMap(([atMs, , , , callMs]) => [[atMs, 1] as const, [atMs + callMs, -1] as const])
      let inFlight = 0
      let most = 0
      for (const [, by] of edges.sort(([a, byA], [b, byB]) => a - b || byA - byB)) {
        inFlight += by
        most = Math.max(most, inFlight)
      }
      const shares = measured.byProcess.map(({ sent }) => sent.length)
      return { utilisation: busyMs / (16 * durationMs), mostInFlight: most, jain: jain(shares), ...common(measured) }
    },
  },
  {
    name: 'ceiling',
    what: 'a silent ceiling 5 → 2 → 1 → 5 under a backlog of 4 processes, a minute each, on a virtual clock',
    goal: 'at most 3 refusals a drop, use ≥ 0.9 of the true ceiling within a minute of its rise',
    run: () => silentCeiling(),
  },
]
