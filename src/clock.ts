import { performance } from 'node:perf_hooks'

export type TimerHandle = unknown

/**
 * The one source of time. `now` is monotonic (ms, fractions allowed) and says nothing of the date;
 * `setTimeout` may fire up to 1 ms early on Node, so who must not be early checks again.
 * The shape fits XState's `clock` option.
 */
export interface Clock {
  now(): number
  /** Milliseconds since the Unix epoch: for what people read, never for arithmetic. */
  wallMs(): number
  setTimeout(fn: () => void, delayMs: number): TimerHandle
  clearTimeout(handle: TimerHandle): void
}

/** Node overflows a longer delay to 1 ms. */
const MAX_TIMER_MS = 2 ** 31 - 1

export const realClock: Clock = {
  now: () => performance.now(),
  wallMs: () => Date.now(),
  // Node makes a ms of any part of one: what is due within it comes in the loop's next turn instead.
  setTimeout: (fn, delayMs) => (delayMs < 1 ? setImmediate(fn) : setTimeout(fn, Math.min(MAX_TIMER_MS, delayMs))),
  clearTimeout(handle) {
    // A timer can be had as a number, an immediate can't.
    if (handle instanceof Object && !(Symbol.toPrimitive in handle)) clearImmediate(handle as NodeJS.Immediate)
    else clearTimeout(handle as NodeJS.Timeout)
  },
}
