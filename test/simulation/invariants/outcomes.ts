import type { Checker, NewChecker } from '../watch.js'

/** Every request that was accepted by a process which lives on is done exactly once. */
export const everyRequestEndsOnce: NewChecker = (world): Checker => {
  const dones = new Map<number, number>()
  return {
    invariant: 6,
    name: 'every accepted request is done exactly once',
    done(_process, { id }) {
      const count = (dones.get(id) ?? 0) + 1
      dones.set(id, count)
      if (count > 1) world.watchers.violate(`#${id} was done ${count} times`)
    },
    atRest() {
      for (const process of world.processes) {
        if (!process.alive) continue
        for (const { id } of process.accepted.values()) world.watchers.violate(`#${id} was accepted and never done`)
      }
    },
  }
}
