import { setImmediate as nextImmediate } from 'node:timers/promises'
import type { Clock, TimerHandle } from '../clock.js'

export interface VirtualClockOptions {
  /** What `now()` starts at. */
  startMs?: number
  /** What `wallMs()` starts at, in ms since the Unix epoch. */
  wallStartMs?: number
  /** How many timers one advance may run before it gives up: a timer that re-arms itself without end is found, not suffered. */
  maxTimersPerAdvance?: number
}

interface Timer {
  readonly dueMs: number
  /** Order of insertion: the tie-break at one time. */
  readonly seq: number
  /** Undefined once cleared or run. */
  fn: (() => void) | undefined
}

/** As Node: a longer delay can't be armed. Where Node overflows to 1 ms, `realClock` and this one clamp. */
const MAX_TIMER_MS = 2 ** 31 - 1
const DEFAULT_WALL_START_MS = Date.UTC(2026, 0, 1)
const DEFAULT_MAX_TIMERS = 1_000_000

/**
 * Each round runs every `setImmediate` queued before it and drains promises and `process.nextTick` on the way, so chains of
 * promises of any length settle in one round, and up to three hops through `setImmediate` in three. Sockets, files and
 * other real I/O are not waited for: whoever tests with those needs the real clock.
 */
const SETTLE_ROUNDS = 3

/** Below this many cleared timers, sweeping them out costs more than it frees. */
const MIN_SWEEP = 64

/**
 * Time that stands still until told. Timers run in order of their time, then of their insertion; each sees `now()` at
 * exactly its own time. Arming, clearing and running cost O(log n), so a million timers are no trouble.
 */
export class VirtualClock implements Clock {
  readonly #wallOffsetMs: number
  readonly #maxTimersPerAdvance: number
  /** A binary min-heap by (dueMs, seq); cleared timers stay until they reach the top or are swept. */
  #heap: Timer[] = []
  #nowMs: number
  #nextSeq = 0
  #cleared = 0
  #advancing = false

  constructor({
    startMs = 0,
    wallStartMs = DEFAULT_WALL_START_MS,
    maxTimersPerAdvance = DEFAULT_MAX_TIMERS,
  }: VirtualClockOptions = {}) {
    if (!Number.isFinite(startMs)) throw new RangeError(`startMs must be a finite number, got ${startMs}`)
    if (!Number.isFinite(wallStartMs)) throw new RangeError(`wallStartMs must be a finite number, got ${wallStartMs}`)
    if (!Number.isSafeInteger(maxTimersPerAdvance) || maxTimersPerAdvance < 1) {
      throw new RangeError(`maxTimersPerAdvance must be a positive integer, got ${maxTimersPerAdvance}`)
    }
    this.#nowMs = startMs
    this.#wallOffsetMs = wallStartMs - startMs
    this.#maxTimersPerAdvance = maxTimersPerAdvance
  }

  now(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return this.#wallOffsetMs + this.#nowMs
  }

  /** Timers armed and neither run nor cleared. */
  get pendingTimers(): number {
    return this.#heap.length - this.#cleared
  }

  setTimeout(fn: () => void, delayMs: number): TimerHandle {
    if (Number.isNaN(delayMs)) throw new RangeError('delayMs must be a number, got NaN')
    const dueMs = this.#nowMs + Math.min(MAX_TIMER_MS, Math.max(0, delayMs))
    const timer: Timer = { dueMs, seq: this.#nextSeq++, fn }
    this.#push(timer)
    return timer
  }

  /** Clearing twice, after the timer ran, or clearing nothing has no effect, as with the real one. */
  clearTimeout(handle: TimerHandle): void {
    const timer = handle as Timer | null | undefined
    if (timer?.fn === undefined) return
    timer.fn = undefined
    this.#cleared++
    if (this.#cleared >= MIN_SWEEP && this.#cleared * 2 > this.#heap.length) this.#sweep()
  }

  /** Runs the next timer, at its time. False when there is none. */
  runNext(): boolean {
    return this.#exclusively(() => this.#runDue(Number.POSITIVE_INFINITY))
  }

  advance(ms: number): void {
    this.advanceTo(this.#target(ms))
  }

  /** Runs every timer due until then, those armed meanwhile included, and leaves `now()` at `timeMs`. */
  advanceTo(timeMs: number): void {
    this.#checkTarget(timeMs)
    this.#exclusively(() => {
      for (let ran = 0; this.#runDue(timeMs); ran++) this.#checkRan(ran + 1, timeMs)
      this.#nowMs = timeMs
    })
  }

  /**
   * As `advance`, but lets promises and `setImmediate` settle before the first timer, after each one and at the end, so
   * that async code under test gets on and arms its next timer at the right time.
   */
  async advanceAsync(ms: number): Promise<void> {
    const targetMs = this.#target(ms)
    this.#checkTarget(targetMs)
    this.#enter()
    try {
      await settle()
      for (let ran = 0; this.#runDue(targetMs); ran++) {
        this.#checkRan(ran + 1, targetMs)
        await settle()
      }
      this.#nowMs = targetMs
    } finally {
      this.#advancing = false
    }
  }

  #target(ms: number): number {
    if (!(ms >= 0 && Number.isFinite(ms))) throw new RangeError(`ms must be a finite number >= 0, got ${ms}`)
    return this.#nowMs + ms
  }

  #checkTarget(timeMs: number): void {
    if (!Number.isFinite(timeMs)) throw new RangeError(`timeMs must be a finite number, got ${timeMs}`)
    if (timeMs < this.#nowMs) throw new RangeError(`time never runs back: it is ${this.#nowMs}, asked for ${timeMs}`)
  }

  #checkRan(ran: number, targetMs: number): void {
    if (ran < this.#maxTimersPerAdvance || !this.#hasDue(targetMs)) return
    throw new Error(
      `VirtualClock ran ${ran} timers in one advance to ${targetMs} ms and more are due at ${this.#nowMs} ms: ` +
        'a timer seems to re-arm itself without end (or raise maxTimersPerAdvance)',
    )
  }

  /** An advance within an advance would run timers out of order. */
  #enter(): void {
    if (this.#advancing) throw new Error('VirtualClock is already advancing: a timer must not advance the clock')
    this.#advancing = true
  }

  #exclusively<T>(run: () => T): T {
    this.#enter()
    try {
      return run()
    } finally {
      this.#advancing = false
    }
  }

  #hasDue(untilMs: number): boolean {
    while (this.#heap[0] !== undefined && this.#heap[0].fn === undefined) {
      this.#pop()
      this.#cleared--
    }
    return this.#heap[0] !== undefined && this.#heap[0].dueMs <= untilMs
  }

  #runDue(untilMs: number): boolean {
    if (!this.#hasDue(untilMs)) return false
    const timer = this.#pop()
    const fn = timer.fn!
    timer.fn = undefined
    this.#nowMs = timer.dueMs
    fn()
    return true
  }

  #sweep(): void {
    this.#heap = this.#heap.filter((timer) => timer.fn !== undefined)
    this.#cleared = 0
    for (let index = (this.#heap.length >> 1) - 1; index >= 0; index--) this.#sink(index)
  }

  #push(timer: Timer): void {
    const heap = this.#heap
    let index = heap.length
    heap.push(timer)
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!isBefore(timer, heap[parent]!)) break
      heap[index] = heap[parent]!
      index = parent
    }
    heap[index] = timer
  }

  /** Takes the top. The heap is not empty. */
  #pop(): Timer {
    const top = this.#heap[0]!
    const last = this.#heap.pop()!
    if (this.#heap.length > 0) {
      this.#heap[0] = last
      this.#sink(0)
    }
    return top
  }

  #sink(start: number): void {
    const heap = this.#heap
    const timer = heap[start]!
    let index = start
    for (;;) {
      let child = index * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, timer)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = timer
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.seq < b.seq)
}

async function settle(): Promise<void> {
  for (let round = 0; round < SETTLE_ROUNDS; round++) await nextImmediate()
}
