import PQueue from 'p-queue'
import { type Arrival, type Join, rateOf } from './peer.js'

interface Waiting {
  readonly weight: number
  go(): void
}

/** What a single process can do at best: an exact log of its starts, first come first served. */
export const exactLog: Join = async (job, call) => {
  const { limit, windowMs } = rateOf(job)
  const log: { readonly atMs: number; readonly weight: number }[] = []
  const line: Waiting[] = []
  let used = 0
  let timer: NodeJS.Timeout | undefined
  const pump = () => {
    timer = undefined
    const nowMs = performance.now()
    while (log.length > 0 && log[0]!.atMs <= nowMs - windowMs) used -= log.shift()!.weight
    while (line.length > 0 && used + line[0]!.weight <= limit) {
      const { weight, go } = line.shift()!
      used += weight
      go()
      // After the start: a window is measured from where nobody can see it begin later.
      log.push({ atMs: performance.now(), weight })
    }
    if (line.length > 0) timer = setTimeout(pump, log[0]!.atMs + windowMs - performance.now())
  }
  return {
    submit: (arrival) =>
      new Promise<void>((resolve) => {
        const weight = job.weighted ? arrival.weight : 1
        line.push({ weight, go: () => void call(arrival).then(resolve) })
        if (!timer) pump()
      }),
  }
}

/** As many at a time as there are slots, in one process. */
export const ownSlots: Join = async ({ slots = 1 }, call) => {
  const line: (() => void)[] = []
  let free = slots
  const run = async (arrival: Arrival) => {
    if (free === 0) await new Promise<void>((resolve) => line.push(resolve))
    else free--
    await call(arrival)
    const next = line.shift()
    if (next) next()
    else free++
  }
  return { submit: run }
}

/** No sharing: each process has its part of the limit, used or not. */
export const pQueue: Join = async (job, call) => {
  const { limit, windowMs } = rateOf(job)
  const queue = new PQueue({ intervalCap: limit / job.processes, interval: windowMs, strict: true })
  return { submit: (arrival) => queue.add(() => call(arrival)) }
}
