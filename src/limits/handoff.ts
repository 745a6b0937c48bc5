import type { FreshMap } from '../registry.js'
import { type FlowNode, type PoolNode, serviceOf, shownOf, type TenantNode } from './fair-tree.js'
import type { Ledger } from './ledger.js'
import { limitOf, type Round } from './round.js'
import { MAX_COSTS } from './store.js'

const MAX_TENANTS_SEEN = 8

const isShown = (flow: FlowNode) => shownOf(flow) > 0

/**
 * How many freed slots each of this process's flows may take over by itself: as long as it is no more than one round of
 * the pool ahead of everybody else. Only where nothing but slots is taken.
 */
export function offerHandoffs(round: Round, ledger: Ledger, pool: PoolNode): void {
  const { control } = ledger
  if (control.isPaused(pool.name) || control.earliestMs(pool.name, round.nowMs) > round.nowMs) return
  const me = round.exchange.processId
  const top = sorted(pool.tenants).slice(0, MAX_TENANTS_SEEN)
  const isRival = (flow: FlowNode) => isShown(flow) && flow.processId !== me
  const rival = top.find((tenant) => [...tenant.flows.values()].some(isRival))
  for (const tenant of top) {
    const flows = sorted(tenant.flows).filter(isShown)
    const rivalTag = flows.find(isRival)?.tag
    for (const flow of flows) {
      const slots = flow.processId === me ? slotsOf(round, ledger, flow) : 0
      if (slots < 1) continue
      const count = within(tenant, flow, rival === tenant ? undefined : rival?.tag, rivalTag, slots)
      if (count > 0) round.handoffs.push([flow.key, count])
    }
  }
}

/** How many requests a flow is from a lead of one round over its rivals, of other tenants and of its own. */
function within(
  tenant: TenantNode,
  flow: FlowNode,
  tenantRival: number | undefined,
  flowRival: number | undefined,
  slots: number,
): number {
  const service = serviceOf(flow, 0)
  const lead = service * slots
  return Math.min(
    MAX_COSTS,
    shownOf(flow),
    stepsUntil(tenant.tag, Math.ceil(service / tenant.weight), tenantRival, lead),
    stepsUntil(flow.tag, Math.ceil(service / flow.classWeight), flowRival, lead),
  )
}

/** The least slots of the limits drawn on; 0 where not only slots are, or more are taken than there should be. */
function slotsOf(round: Round, ledger: Ledger, { draws }: FlowNode): number {
  let least = MAX_COSTS
  for (const id of draws) {
    const limit = limitOf(round, round.limitIndex.get(id) ?? -1)
    const allowed = ledger.allowed(limit)
    if (limit.windowMs > 0 || ledger.inFlight(id) > allowed) return 0
    least = Math.min(least, allowed)
  }
  return least
}

/** How many steps from `tag` stay within `lead` of a rival's tag. */
function stepsUntil(tag: number, step: number, rivalTag: number | undefined, lead: number): number {
  if (rivalTag === undefined) return MAX_COSTS
  if (tag > rivalTag + lead) return 0
  return step <= 0 ? MAX_COSTS : Math.floor((rivalTag + lead - tag) / step) + 1
}

function sorted<T extends { readonly tag: number }>(nodes: FreshMap<string, T>): T[] {
  return [...nodes].sort(([nameA, a], [nameB, b]) => a.tag - b.tag || (nameA < nameB ? -1 : 1)).map(([, node]) => node)
}
