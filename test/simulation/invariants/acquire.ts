import type { Grant } from '../../../src/dispatch/grant.js'
import type { Checker, NewChecker } from '../watch.js'

/** No retry skips acquire: everything that is written has a grant of its own, which was handed to that request. */
export const everySendHasItsGrant: NewChecker = (world): Checker => {
  const used = new WeakSet<Grant>()
  const holders = new WeakMap<Grant, number>()
  const permits = new Map<number, number>()
  return {
    invariant: 12,
    name: 'no retry skips acquire',
    granted(_process, { id }, grant) {
      if (holders.has(grant))
        world.watchers.violate(`the grant of #${holders.get(grant)} was handed out again, to #${id}`)
      holders.set(grant, id)
    },
    mayBeSent(_process, { id }, grant) {
      if (used.has(grant)) world.watchers.violate(`#${id} was sent twice on one grant`)
      if (holders.get(grant) !== id) world.watchers.violate(`#${id} was sent on a grant that is not its own`)
      used.add(grant)
      permits.set(id, (permits.get(id) ?? 0) + 1)
    },
    sent(_process, { request: { id } }) {
      const left = (permits.get(id) ?? 0) - 1
      permits.set(id, left)
      if (left < 0) world.watchers.violate(`#${id} was written without being asked for`)
    },
  }
}
