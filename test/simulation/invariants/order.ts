import type { Checker, NewChecker } from '../watch.js'
import { WaitingList } from './waiting.js'

/**
 * First come, first served within tenant, class and process: nobody is granted while one waits in the same flow that came
 * before and costs no more. (A smaller one may use what is left of a grant that its first can't.)
 */
export const flowsAreInOrder: NewChecker = (world): Checker => {
  const list = new WaitingList(world)
  const places = new Map<string, number>()
  const countsTokens = (pool: string, tenant: string) => {
    const plan = world.groupPlan.pools.find(({ name }) => name === pool)!
    return plan.draws(tenant).some((index) => world.groupPlan.spec.limits[index]!.dimension === 'tokens')
  }
  return {
    invariant: 8,
    name: 'order within (tenant, class, process)',
    waits: (process, request) => list.join(process, request),
    withdrawn: (process, request) => void list.leave(process, request),
    refused: (process, request) => void list.leave(process, request),
    crashed: (process) => list.forget(process),
    granted(process, request) {
      const mine = list.leave(process, request)
      if (!mine) return
      places.set(`${process.name}#${request.id}`, mine.place)
      const flow = WaitingList.flowOf(mine)
      const sized = countsTokens(request.pool, request.tenant)
      for (const other of list.all.values()) {
        if (other.process !== process || other.place > mine.place || WaitingList.flowOf(other) !== flow) continue
        if (sized && other.request.tokens > request.tokens) continue
        world.watchers.violate(`#${request.id} was granted before #${other.request.id} of its flow`)
      }
    },
    settled(process, request, _grant, end) {
      const place = places.get(`${process.name}#${request.id}`)
      if (end.unsent && place !== undefined) list.keep(process, request, place)
    },
  }
}
