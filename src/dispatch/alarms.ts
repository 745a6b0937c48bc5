import type { ExchangeReply } from '../limits/store.js'
import { Alarm } from './alarm.js'
import type { ClockSync } from './clock-sync.js'
import type { DispatcherOptions } from './options.js'

/** News that nobody waits for is gathered for so long. */
const GATHER_MS = 25
/** A waiter whose wake-up was lost is found by asking again, within this and half as much again. */
const HEAL_MS = 500
const RETRY_BASE_MS = 50
const RETRY_CAP_MS = 1_000

/** When a dispatcher asks the store of its own accord. */
export class Alarms {
  readonly #gather: Alarm
  /** A date comes near, or a lost wake-up is to be healed. */
  readonly #date: Alarm
  readonly #lease: Alarm
  readonly #reconnect: Alarm

  constructor(
    private readonly options: Pick<DispatcherOptions, 'clock' | 'random' | 'leaseMs' | 'isolatedMs'>,
    private readonly sync: ClockSync,
    ask: () => void,
  ) {
    const { clock } = options
    this.#gather = new Alarm(clock, ask)
    this.#date = new Alarm(clock, ask)
    this.#lease = new Alarm(clock, ask)
    this.#reconnect = new Alarm(clock, ask)
  }

  /** Whether the store was not reached, and is not tried yet. */
  get reconnecting(): boolean {
    return this.#reconnect.armed
  }

  /** Before long, unless that is soon anyway. */
  gather(): void {
    if (!this.#gather.armed) this.#gather.set(this.options.clock.now() + GATHER_MS)
  }

  /** What was gathered goes now. */
  gathered(): void {
    this.#gather.clear()
  }

  /** Tries again, later after each failure. */
  reconnect(failures: number): void {
    const delayMs = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(10, failures))
    this.#reconnect.set(this.options.clock.now() + delayMs)
  }

  reconnected(): void {
    this.#reconnect.clear()
  }

  /** After a reply: `waits` for a grant, or only `holds` something. */
  follow(reply: ExchangeReply, waits: boolean, holds: boolean): void {
    const { clock, random, leaseMs, isolatedMs } = this.options
    const nowMs = clock.now()
    if (!waits && reply.learnUntilMs === 0) this.#date.clear()
    else if (reply.retryAtMs > 0) this.#date.set(this.sync.localWhen(reply.retryAtMs))
    else this.#date.set(nowMs + HEAL_MS * (1 + random() / 2))
    // What is set aside for this process is lost to the others unless its lease lives.
    if (waits || holds || isolatedMs > 0) this.#lease.set(nowMs + leaseMs / 3)
    else this.#lease.clear()
  }

  clear(): void {
    for (const alarm of [this.#gather, this.#date, this.#lease, this.#reconnect]) alarm.clear()
  }
}
