import { bottleneck } from './bottleneck.js'
import { bullMq } from './bullmq.js'
import { headgate } from './headgate.js'
import { exactLog, ownSlots, pQueue } from './in-process.js'
import type { Join } from './peer.js'
import { rateLimiterAlone, rateLimiterQueue, upstash } from './rate-limiters.js'

/** Whoever does this work, by the name of its row. */
export const PEERS: Readonly<Record<string, Join>> = {
  headgate: headgate({ redis: true }),
  'headgate, no guard': headgate({ redis: true, guardMs: 0 }),
  'headgate, in memory': headgate({ redis: false }),
  'exact log, one process': exactLog,
  'slots, one process': ownSlots,
  'Bottleneck reservoir': bottleneck('reservoir'),
  'Bottleneck minTime': bottleneck('minTime'),
  'Bottleneck maxConcurrent': bottleneck('slots'),
  'Bottleneck, in memory': bottleneck('reservoir', { local: true }),
  'BullMQ limiter': bullMq,
  'BullMQ global concurrency': bullMq,
  'rate-limiter-flexible queue': rateLimiterQueue,
  'rate-limiter-flexible alone': rateLimiterAlone,
  'Upstash sliding window': upstash,
  'p-queue strict, split': pQueue,
}

/** Take jobs from a shared queue, which one process fills before the start. */
export const FILLED: ReadonlySet<string> = new Set(['BullMQ limiter', 'BullMQ global concurrency'])
