import type { AlertConfig, AlertingProcess, AlertNotice, RuleConfig } from '../../alerts.js'
import type { Clock, TimerHandle } from '../../clock.js'
import type { GateLogger } from '../../config.js'
import type { GateEmitter } from '../../events.js'
import type { AlertStatus } from '../../monitoring.js'
import type { AlertBook, Standings } from './alert-book.js'
import { isUnsettled, type Measured, type Standing, step } from './hysteresis.js'
import { type FleetView, measureAll, minutesNeeded } from './rules.js'
import { Webhook } from './webhook.js'

/** Checks are so far apart at least; the first comes soon after what caused it. */
const CHECK_EVERY_MS = 5_000
const CHECK_SOON_MS = 100

export interface AlertsOptions {
  readonly config: AlertConfig
  readonly namespace: string
  readonly process: AlertingProcess
  readonly clock: Clock
  readonly events: GateEmitter
  readonly logger: GateLogger | undefined
  readonly book: AlertBook
  /** The fleet's numbers with so many minutes of the past. Rejects when they can't be had. */
  readonly look: (minutes: number) => Promise<FleetView>
  /** Whether this process has lost Redis. */
  readonly isIsolated: () => boolean
}

/**
 * Judges the rules, and tells when an alert begins or ends: once for the fleet, by the process that holds the claim. Who
 * dies between judging and telling is stood in for. It wakes only when something happened or an alert is under way.
 */
export class Alerts {
  readonly #options: AlertsOptions
  readonly #minutes: number
  readonly #webhook: Webhook | undefined
  /** What only this process can judge. */
  #own: Standings = {}
  /** Of what was told by this process and is on its way to the webhook: the state told last, by the alert's key. */
  readonly #said = new Map<string, Standing['state']>()
  /** The state that the webhook got last, by the alert's key, until it is written down. */
  readonly #delivered = new Map<string, Standing['state']>()
  #timer: TimerHandle | undefined
  #dueMs = Number.POSITIVE_INFINITY
  #lastCheckMs = Number.NEGATIVE_INFINITY
  #checking: Promise<void> | undefined
  #closed = false

  constructor(options: AlertsOptions) {
    this.#options = options
    const { config, clock, events, logger } = options
    this.#minutes = minutesNeeded(config.rules)
    if (config.webhook) {
      this.#webhook = new Webhook(config.webhook, clock, {
        settled: (notice) => this.#settled(notice),
        warn: (details, message) => logger?.warn(details, message),
      })
    }
    if (config.rules.length === 0) return
    events.on('outcome', () => this.#soon())
    events.on('attempt-failed', () => this.#soon())
    events.on('dispatcher', ({ type }) => type === 'state' && this.#soon())
  }

  /** How the alerts stand now; while the fleet's can't be read, this process's own. */
  async list(nowMs: number): Promise<AlertStatus[]> {
    const { book, clock } = this.#options
    if (clock.now() - this.#lastCheckMs >= CHECK_EVERY_MS) await this.check()
    const fleet = await book.read().catch(() => ({}))
    return alertsOf({ ...fleet, ...this.#own }, nowMs)
  }

  /** Judges now. Never rejects; one at a time. */
  check(): Promise<void> {
    this.#checking ??= this.#check()
      .catch(() => {
        // The store can't be reached, or another process is to judge: the next event or reader asks again.
      })
      .finally(() => {
        this.#checking = undefined
      })
    return this.#checking
  }

  close(): void {
    this.#closed = true
    this.#options.clock.clearTimeout(this.#timer)
    this.#webhook?.close()
  }

  async #check(): Promise<void> {
    const { config, clock, book, look } = this.#options
    this.#disarm()
    this.#lastCheckMs = clock.now()
    if (config.rules.length === 0 || this.#closed) return
    this.#checkOwn()
    this.#arm(this.#own)
    if (config.rules.every(({ rule }) => rule === 'isolated')) return
    const former = await book.claim()
    if (!former) return this.#handOver()
    const view = await look(this.#minutes)
    const delivered = new Map(this.#delivered)
    const next: Record<string, Standing> = {}
    for (const [key, [rule, measured]] of measureAll(config.rules, view)) {
      const standing = this.#next(key, former[key], rule, measured)
      if (standing) next[key] = standing
    }
    // Without a webhook, to be written is to be told.
    const untold = Object.entries(next).filter(([key, { state, told }]) => state !== (this.#said.get(key) ?? told))
    if (!this.#webhook) for (const [key, standing] of untold) next[key] = { ...standing, told: standing.state }
    if (!(await book.write(next))) return this.#handOver()
    for (const [key, state] of delivered) {
      if (this.#delivered.get(key) === state) this.#delivered.delete(key)
      if (this.#said.get(key) === state) this.#said.delete(key)
    }
    for (const [key, standing] of untold) this.#tell(key, standing)
    this.#arm(next)
  }

  #checkOwn(): void {
    const { config, isIsolated } = this.#options
    const rule = config.rules.find((one) => one.rule === 'isolated')
    if (!rule) return
    const breached = isIsolated()
    const { name, host, pid } = this.#options.process
    const who = `process ${name} (${host}, pid ${pid})`
    const message = breached
      ? `${who} has lost Redis: it sends nothing, or only its own share of the limits`
      : `${who} has Redis again`
    const key = `${rule.name}|`
    const standing = this.#next(key, this.#own[key], rule, {
      breached,
      value: breached ? 1 : 0,
      threshold: 0,
      message,
    })!
    this.#own = { [key]: { ...standing, told: standing.state } }
    if (standing.state !== standing.told) this.#tell(key, standing)
  }

  #next(key: string, former: Standing | undefined, rule: RuleConfig, measured: Measured | undefined) {
    const { clock } = this.#options
    const told = this.#delivered.get(key)
    const known = former && told ? { ...former, told } : former
    // Nothing to judge is no alert: what was one is over once it has been so for long enough.
    const found = measured ?? (known && { ...known, breached: false })
    return found && step(known, found, rule, clock.wallMs())
  }

  #tell(key: string, standing: Standing): void {
    const { events, logger, namespace, process } = this.#options
    const [rule = '', pool] = splitKey(key)
    // The isolated can't agree on one who tells: the first to recover would end the alert of the others.
    const own = key in this.#own ? process : undefined
    const { state, value, threshold, sinceMs } = standing
    const message = state === 'firing' ? standing.message : `over: ${standing.message}`
    const notice: AlertNotice = {
      namespace,
      rule,
      ...(pool && { pool }),
      ...(own && { process: own }),
      state,
      value,
      threshold,
      message,
      text: `headgate ${namespace}: ${message}`,
      since: new Date(sinceMs).toISOString(),
      key: `${namespace}/${rule}/${own?.name ?? pool ?? ''}`,
    }
    logger?.[state === 'firing' ? 'warn' : 'info']({ alert: rule, pool, state, value, threshold }, message)
    events.emitSafely('alert', notice)
    if (!this.#webhook) return
    if (!own) this.#said.set(key, state)
    this.#webhook.post(notice)
  }

  #settled({ rule, pool = '', state }: AlertNotice): void {
    const key = `${rule}|${pool}`
    if (this.#closed || key in this.#own) return
    this.#delivered.set(key, state)
    this.#soon()
  }

  /** Another process judges, and tells what the book has as untold: what waits here would come after its word. */
  #handOver(): void {
    this.#webhook?.forget(({ rule, pool = '' }) => !(`${rule}|${pool}` in this.#own))
    this.#said.clear()
    this.#delivered.clear()
  }

  #soon(): void {
    const { clock } = this.#options
    this.#armAt(Math.max(clock.now() + CHECK_SOON_MS, this.#lastCheckMs + CHECK_EVERY_MS))
  }

  /** Looks again while time alone may change something. */
  #arm(standings: Standings): void {
    const { clock } = this.#options
    if (Object.values(standings).some(isUnsettled)) this.#armAt(clock.now() + CHECK_EVERY_MS)
  }

  #armAt(dueMs: number): void {
    if (this.#closed || this.#dueMs <= dueMs) return
    const { clock } = this.#options
    clock.clearTimeout(this.#timer)
    this.#dueMs = dueMs
    this.#timer = clock.setTimeout(() => {
      this.#disarm()
      void this.check()
    }, dueMs - clock.now())
  }

  #disarm(): void {
    this.#options.clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#dueMs = Number.POSITIVE_INFINITY
  }
}

/** The standings as the monitoring tells them. */
export function alertsOf(standings: Standings, nowMs: number): AlertStatus[] {
  return Object.entries(standings).map(([key, { state, sinceMs, value, threshold, message }]) => {
    const [rule = '', pool] = splitKey(key)
    const forMs = Math.max(0, Math.round(nowMs - sinceMs))
    return { rule, ...(pool && { pool }), state, sinceMs: forMs, value, threshold, message }
  })
}

function splitKey(key: string): [rule?: string, pool?: string] {
  const bar = key.lastIndexOf('|')
  return [key.slice(0, bar), key.slice(bar + 1)]
}
