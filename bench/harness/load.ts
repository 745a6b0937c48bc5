const YIELD_EVERY = 8

export interface Load {
  readonly started: number
  readonly done: number
  /** Rejects with the first failure. */
  readonly over: Promise<unknown>
  /** Begins no more, and waits for what is under way. */
  stop(): Promise<unknown>
}

/** Keeps `outstanding` of the same kind under way: as one is done, the next begins. Its `index` counts them. */
export function keepOutstanding(outstanding: number, begin: (index: number) => Promise<unknown>): Load {
  let stopped = false
  let started = 0
  let done = 0
  const producer = async () => {
    while (!stopped) {
      await begin(started++)
      // Left to promises alone it would never let a timer run.
      if (++done % YIELD_EVERY === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const over = Promise.all(Array.from({ length: outstanding }, producer))
  return {
    get started() {
      return started
    },
    get done() {
      return done
    },
    over,
    stop: () => {
      stopped = true
      return over
    },
  }
}
