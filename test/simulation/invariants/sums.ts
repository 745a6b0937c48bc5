import type { Checker, NewChecker } from '../watch.js'
import { MemoryBackend } from '../store-host.js'

/** The store's running sums equal its live buckets, and its slot counts those of its members. */
export const sumsAddUp: NewChecker = (world): Checker => {
  const { backend, watchers } = world
  let samples = 0
  return {
    invariant: 3,
    name: 'sums equal live buckets',
    applied() {
      if (!(backend instanceof MemoryBackend)) return
      const { counted, held } = backend.group.auditSlots()
      if (counted.size === 0 && held.size === 0) return
      for (const id of new Set([...counted.keys(), ...held.keys()])) {
        const [ofGroup = 0, ofMembers = 0] = [counted.get(id), held.get(id)]
        if (ofGroup !== ofMembers) watchers.violate(`${id}: ${ofGroup} slots, of members ${ofMembers}`)
        if (ofGroup < 0) watchers.violate(`${id}: ${ofGroup} slots`)
      }
    },
    // Hundreds of buckets after each exchange would cost more than the exchange.
    sample() {
      if (!(backend instanceof MemoryBackend) || ++samples % 5 > 0) return
      for (const { id, sum, bucketSum, buckets } of backend.group.audit()) {
        if (sum !== bucketSum) watchers.violate(`${id}: running sum ${sum}, buckets ${bucketSum}`)
        const below = buckets.find(([, amount]) => amount < 0)
        if (below) watchers.violate(`${id}: bucket ${below[0]} holds ${below[1]}`)
      }
    },
  }
}
