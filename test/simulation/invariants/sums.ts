import type { Checker, NewChecker } from '../watch.js'
import { MemoryBackend } from '../store-host.js'

/** The store's running sums equal its live buckets, and its slot counts those of its members. */
export const sumsAddUp: NewChecker = (world): Checker => {
  const check = () => {
    if (!(world.backend instanceof MemoryBackend)) return
    const { group } = world.backend
    for (const { id, sum, bucketSum, buckets } of group.audit()) {
      if (sum !== bucketSum) world.watchers.violate(`${id}: running sum ${sum}, buckets ${bucketSum}`)
      const below = buckets.find(([, amount]) => amount < 0)
      if (below) world.watchers.violate(`${id}: bucket ${below[0]} holds ${below[1]}`)
    }
    const { counted, held } = group.auditSlots()
    for (const id of new Set([...counted.keys(), ...held.keys()])) {
      const [ofGroup = 0, ofMembers = 0] = [counted.get(id), held.get(id)]
      if (ofGroup !== ofMembers) world.watchers.violate(`${id}: ${ofGroup} slots, of members ${ofMembers}`)
      if (ofGroup < 0) world.watchers.violate(`${id}: ${ofGroup} slots`)
    }
  }
  let skip = 0
  return {
    invariant: 3,
    name: 'sums equal live buckets',
    // All of it after each exchange would cost as much as the exchange: slots are cheap, buckets are not.
    applied() {
      if (++skip % 8 === 0) check()
    },
    sample: check,
  }
}
