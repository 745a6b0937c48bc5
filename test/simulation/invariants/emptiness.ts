import type { Checker, NewChecker } from '../watch.js'

/** Nobody needs anything any more: nothing is left anywhere. */
export const nothingIsLeft: NewChecker = (world): Checker => ({
  invariant: 11,
  name: 'at idle everything is empty',
  async atRest() {
    for (const process of world.processes) {
      if (!process.alive) continue
      for (const left of process.leftovers()) world.watchers.violate(left)
    }
    if (world.provider.inFlight.size > 0)
      world.watchers.violate(`${world.provider.inFlight.size} calls still in flight`)
    await world.look()
    for (const left of await world.backend.leftovers()) world.watchers.violate(left)
    for (const { id, used } of (await world.usage()).limits) {
      if (used !== 0) world.watchers.violate(`${id}: ${used} still counted after its window`)
    }
  },
})
