import type { Clock, TimerHandle } from '../../src/clock.js'
import type { VirtualClock } from '../../src/testing/virtual-clock.js'
import type { Random } from './random.js'

/** Machines' clocks run apart by this share at most. */
const MAX_DRIFT = 100e-6

interface Timer {
  live: boolean
  handle: TimerHandle
}

/**
 * One process's view of time: an origin of its own, a drift, timers that fire up to 1 ms early as Node's do. While it is
 * paused, what falls due waits; once it is killed, nothing of it ever runs again.
 */
export class ProcessClock implements Clock {
  readonly #originMs: number
  readonly #rate: number
  readonly #startMs: number
  #held: { readonly fn: () => void; readonly timer: boolean }[] | undefined
  #killed = false

  constructor(
    private readonly truth: VirtualClock,
    private readonly random: Random,
  ) {
    this.#originMs = Math.floor(random.between(0, 1e6))
    this.#rate = 1 + random.between(-MAX_DRIFT, MAX_DRIFT)
    this.#startMs = truth.now()
  }

  get paused(): boolean {
    return this.#held !== undefined
  }

  pause(): void {
    this.#held ??= []
  }

  resume(): void {
    const held = this.#held ?? []
    this.#held = undefined
    // Node looks at its timers first, then at its sockets; each gets a turn.
    const turns = [...held.filter(({ timer }) => timer), ...held.filter(({ timer }) => !timer)]
    for (const { fn, timer } of turns) this.truth.setTimeout(() => this.run(fn, timer), 0)
  }

  kill(): void {
    this.#killed = true
    this.#held = undefined
  }

  /** Runs something that comes from outside: now, when the process runs again, or never. */
  run(fn: () => void, timer = false): void {
    if (this.#killed) return
    if (this.#held) this.#held.push({ fn, timer })
    else fn()
  }

  now(): number {
    return this.#originMs + (this.truth.now() - this.#startMs) * this.#rate
  }

  wallMs(): number {
    return this.truth.wallMs()
  }

  setTimeout(fn: () => void, delayMs: number): TimerHandle {
    const timer: Timer = { live: true, handle: undefined }
    if (this.#killed) return timer
    const ring = () => {
      if (!timer.live) return
      timer.live = false
      fn()
    }
    const early = this.random.next() < 0.2 ? this.random.next() : 0
    // As Node: whole ms, at least one.
    const wholeMs = Math.max(1, Math.trunc(delayMs))
    timer.handle = this.truth.setTimeout(() => this.run(ring, true), Math.max(0.01, wholeMs / this.#rate - early))
    return timer
  }

  clearTimeout(handle: TimerHandle): void {
    const timer = handle as Timer | undefined
    if (!timer?.live) return
    timer.live = false
    this.truth.clearTimeout(timer.handle)
  }
}
