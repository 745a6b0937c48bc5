import PQueue from 'p-queue'
import { backlog, type Peer, type PeerJob, rateOf } from './peer.js'

/** What a single process can do at best: an exact log of its starts, or as many loops as slots. */
export async function ideal(job: PeerJob): Promise<Peer> {
  if (job.slots !== undefined) return backlog(job.slots, (call) => call())
  const { limit, windowMs } = rateOf(job)
  return {
    start(call) {
      const starts: number[] = []
      const pump = () => {
        const nowMs = performance.now()
        while (starts.length > 0 && starts[0]! <= nowMs - windowMs) starts.shift()
        while (starts.length < limit) {
          starts.push(performance.now())
          void call()
        }
        setTimeout(pump, starts[0]! + windowMs - performance.now())
      }
      pump()
    },
  }
}

/** No sharing: each process has its part of the limit, used or not. */
export async function pQueue(job: PeerJob): Promise<Peer> {
  const { limit, windowMs } = rateOf(job)
  const queue = new PQueue({ intervalCap: limit / job.processes, interval: windowMs, strict: true })
  return backlog(job.outstanding, (call) => queue.add(call))
}
