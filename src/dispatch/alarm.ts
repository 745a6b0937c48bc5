import type { Clock, TimerHandle } from '../clock.js'

/** A long timer is late by about 0.1 %: it sleeps this share first, then the rest. */
const FIRST_SLEEP = 0.98
const LONG_SLEEP_MS = 200

/** A single timer set to an instant, never early: Node's timers may fire up to 1 ms before their time. */
export class Alarm {
  #atMs = Number.POSITIVE_INFINITY
  #timer: TimerHandle | undefined

  constructor(
    private readonly clock: Clock,
    private readonly ring: () => void,
  ) {}

  get armed(): boolean {
    return this.#timer !== undefined
  }

  /** Sets the alarm to `atMs` of the clock, in place of any earlier setting. */
  set(atMs: number): void {
    this.clear()
    this.#atMs = atMs
    this.#sleep()
  }

  clear(): void {
    if (this.#timer !== undefined) this.clock.clearTimeout(this.#timer)
    this.#timer = undefined
    this.#atMs = Number.POSITIVE_INFINITY
  }

  #sleep(): void {
    const leftMs = this.#atMs - this.clock.now()
    const delayMs = leftMs > LONG_SLEEP_MS ? leftMs * FIRST_SLEEP : leftMs
    this.#timer = this.clock.setTimeout(() => this.#wakeUp(), Math.max(0, delayMs))
  }

  #wakeUp(): void {
    this.#timer = undefined
    if (this.clock.now() < this.#atMs) {
      this.#sleep()
      return
    }
    this.#atMs = Number.POSITIVE_INFINITY
    this.ring()
  }
}
