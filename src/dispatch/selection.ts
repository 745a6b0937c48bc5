import type { FairQueue, Place } from './fair-queue.js'
import type { TokenRequest } from './grant.js'

const MAX_PER_BATCH = 128
const MAX_PER_FLOW = 64

/** The waiters a batch shows, in fair order. `blocked` flows were refused at the last look. */
export function selectWaiters(
  waiting: FairQueue<TokenRequest>,
  blocked: ReadonlySet<string>,
  poolCount: number,
): Place<TokenRequest>[] {
  // Of a blocked flow the head matters; a few more save a round trip when it is served.
  const blockedShown = waiting.flowCount > MAX_PER_BATCH / 4 ? 1 : 4
  // Each pool has its share of the batch, so that one in cool-down crowds out no other.
  const perPool = Math.ceil(MAX_PER_BATCH / poolCount)
  const shown = new Map<number, number>()
  return waiting.peek(
    MAX_PER_BATCH,
    (key) => (blocked.has(key) ? blockedShown : MAX_PER_FLOW),
    ({ pool }) => {
      const count = (shown.get(pool) ?? 0) + 1
      shown.set(pool, count)
      return count <= perPool
    },
  )
}
