import type { FreshMap } from '../registry.js'
import { type FairTree, type FlowNode, type PoolNode, shownOf, type TenantNode } from './fair-tree.js'
import { offerHandoffs } from './handoff.js'
import type { Ledger } from './ledger.js'
import { costOf, limitOf, type Round, retryAt } from './round.js'
import { BACKUP_MS, HORIZON_MS, HORIZON_SHARE, type LimitSpec, MAX_GRANTS, MAX_REFUSED_HEADS } from './store.js'

export interface Grant {
  readonly processId: string
  readonly key: string
  readonly atMs: number
  readonly tokens: number
  readonly draws: readonly string[]
}

/** What a request that has to wait will need of a limit, and what others may take without delaying it. */
interface Reservation {
  readonly atMs: number
  extra: number
}

/** When a request fits, which limit decides that, and how far ahead it may be dated. */
interface Fit {
  readonly atMs: number
  readonly binding: number
  readonly aheadMs: number
}

interface Tagged {
  readonly tag: number
}

/**
 * One look at who may go: in fair order, all dimensions or none, dated up to a horizon ahead. The first that has to wait
 * longer gets a reservation; whoever comes after it goes first only without delaying it (EASY backfilling, Lifka 1995).
 * Dates are given out from half the horizon on, up to its whole, so that one exchange serves a fleet for that long.
 */
export class Schedule {
  readonly #blockedPools = new Set<PoolNode>()
  readonly #blockedTenants = new Set<TenantNode>()
  readonly #blockedFlows = new Set<FlowNode>()
  readonly #filling = new Set<PoolNode>()
  readonly #frontAtMs = new Map<PoolNode, number>()
  readonly #refusedHeads = new Map<PoolNode, number>()
  /** Smallest cost known not to fit, by limit index. */
  readonly #tooMuch = new Map<number, number>()
  readonly #reservations = new Map<number, Reservation>()

  constructor(
    private readonly round: Round,
    private readonly ledger: Ledger,
    private readonly tree: FairTree,
    private readonly grant: (grant: Grant) => void,
    private readonly wake: (processId: string) => void,
  ) {}

  /** `closed`: nothing may be granted now. */
  run(closed: boolean): void {
    let left = closed ? 0 : MAX_GRANTS
    // What was promised a date keeps it, whoever came since.
    for (const pool of closed ? [] : fronts(this.tree.pools)) if (this.#serveFront(pool)) left--
    while (left > 0) {
      const pool = first(this.tree.pools, this.#blockedPools)
      if (!pool) break
      if (this.#isFull(pool)) this.#blockedPools.add(pool)
      else if (this.#serveOne(pool)) left--
    }
    if (left === 0 && !closed) retryAt(this.round, this.round.nowMs + 1)
    this.#report()
  }

  /** Whether no request of the pool could be granted, whatever its cost. */
  #isFull(pool: PoolNode): boolean {
    const index = this.round.poolIndex.get(pool.name)
    if (index === undefined || this.ledger.control.isPaused(pool.name)) return true
    for (const limit of this.round.spec.draws[index] ?? []) {
      const spec = limitOf(this.round, limit)
      if (spec.windowMs === 0 && this.ledger.free(spec, this.round.nowMs) < 1) return true
      if (spec.dimension !== 'tokens' && (this.#tooMuch.get(limit) ?? 2) <= 1) return true
    }
    return (this.#refusedHeads.get(pool) ?? 0) >= MAX_REFUSED_HEADS
  }

  #serveOne(pool: PoolNode): boolean {
    const tenant = first(pool.tenants, this.#blockedTenants)
    if (!tenant) {
      this.#blockedPools.add(pool)
      return false
    }
    const flow = first(tenant.flows, this.#blockedFlows, isShown)
    if (!flow) {
      this.#blockedTenants.add(tenant)
      return false
    }
    return this.#serve(pool, tenant, flow)
  }

  #serveFront(pool: PoolNode): boolean {
    const tenant = pool.tenants.get(pool.front?.tenant ?? '')
    const flow = tenant?.flows.get(pool.front?.flow ?? '')
    if (!tenant || !flow || !isShown(flow) || this.#isFull(pool)) return false
    return this.#serve(pool, tenant, flow)
  }

  #serve(pool: PoolNode, tenant: TenantNode, flow: FlowNode): boolean {
    const limits = this.#limitsOf(flow)
    const tokens = flow.costs[0] ?? 0
    if (!limits || this.#isRefused(pool, tenant, flow, limits, tokens)) return false
    const fit = this.#fit(pool, tenant, flow, limits, tokens)
    if (!fit) {
      this.#blockedFlows.add(flow)
      return false
    }
    this.#give(pool, tenant, flow, limits, tokens, fit.atMs)
    return true
  }

  #limitsOf(flow: FlowNode): number[] | undefined {
    const limits: number[] = []
    for (const id of flow.draws) {
      const index = this.round.limitIndex.get(id)
      if (index === undefined) {
        this.#blockedFlows.add(flow) // Another config than ours: its own process serves it.
        return undefined
      }
      limits.push(index)
    }
    return limits
  }

  /** A cost above a limit as it now stands can never be granted. Its own process hears of it. */
  #isRefused(pool: PoolNode, tenant: TenantNode, flow: FlowNode, limits: number[], tokens: number): boolean {
    for (const index of limits) {
      const limit = limitOf(this.round, index)
      const max = this.ledger.control.configured(limit)
      if (costOf(limit, tokens) <= max) continue
      if (flow.processId === this.round.exchange.processId) {
        this.round.refused.push([flow.key, index, max])
        this.tree.refuse(pool, tenant, flow)
      } else this.#blockedFlows.add(flow)
      return true
    }
    return false
  }

  /** When all dimensions fit, if that is near enough; else notes what the request needs and when. */
  #fit(pool: PoolNode, tenant: TenantNode, flow: FlowNode, limits: readonly number[], tokens: number): Fit | undefined {
    for (const index of limits) {
      if (costOf(limitOf(this.round, index), tokens) >= (this.#tooMuch.get(index) ?? Infinity)) return undefined
    }
    const fit = this.#dateOf(pool, limits, tokens)
    if (!fit) return undefined
    const { nowMs } = this.round
    const halfMs = Math.floor(fit.aheadMs / 2)
    if (fit.atMs > nowMs + (this.#filling.has(pool) ? fit.aheadMs : halfMs)) {
      this.#reserve(pool, limits, tokens, fit)
      this.#promise(pool, tenant, flow, fit.atMs - halfMs)
      return undefined
    }
    for (const index of limits) {
      const reservation = this.#reservations.get(index)
      const cost = costOf(limitOf(this.round, index), tokens)
      if (!reservation || cost <= reservation.extra) continue
      this.#note(index, cost)
      return undefined
    }
    return fit
  }

  /** The first in line is the one to ask when its date comes near. Whose turn comes sooner than was said has to hear of it. */
  #promise(pool: PoolNode, tenant: TenantNode, flow: FlowNode, askAtMs: number): void {
    const { nowMs, exchange } = this.round
    const isOwn = flow.processId === exchange.processId
    pool.front ??= { tenant: tenant.name, flow: flow.id, sinceMs: nowMs, askAtMs }
    const { front } = pool
    if (front.flow === flow.id) {
      const isSooner = askAtMs < front.askAtMs - BACKUP_MS
      if (isSooner && !isOwn) this.wake(flow.processId)
      if (isSooner || isOwn) front.askAtMs = askAtMs
    }
    retryAt(this.round, isOwn ? askAtMs : askAtMs + BACKUP_MS)
  }

  #dateOf(pool: PoolNode, limits: readonly number[], tokens: number): Fit | undefined {
    const { round, ledger } = this
    let atMs = ledger.control.earliestMs(pool.name, round.nowMs)
    let binding = -1
    let aheadMs = HORIZON_MS
    let rated = false
    let scarce = false
    for (const index of limits) {
      const limit = limitOf(round, index)
      const free = ledger.free(limit, round.nowMs)
      if (limit.windowMs === 0) {
        if (free < 1) {
          this.#note(index, 1)
          return undefined
        }
        // A slot that waits for its date is idle: only while there are plenty.
        scarce ||= (ledger.inFlight(limit.id) + 1) * 2 > ledger.allowed(limit)
        continue
      }
      rated = true
      aheadMs = Math.min(aheadMs, Math.floor(limit.windowMs / HORIZON_SHARE))
      const missing = costOf(limit, tokens) - free
      if (missing <= 0) continue
      const fitsAtMs = this.#freeAt(limit, missing)
      if (fitsAtMs <= atMs) continue
      atMs = fitsAtMs
      binding = index
    }
    return { atMs, binding, aheadMs: rated && !scarce ? aheadMs : 0 }
  }

  #freeAt(limit: LimitSpec, missing: number): number {
    const { nowMs } = this.round
    const { amount, untilMs } = this.ledger.control.foreign(limit.id, nowMs)
    const log = this.ledger.log(limit)
    // What is not ours ends at an instant of its own: then the rest may fit, or fits as if it had never been.
    const withoutMs = amount > 0 ? Math.max(untilMs, log.freeAt(nowMs, missing - amount) ?? Infinity) : Infinity
    // What this exchange dated itself leaves last.
    return Math.min(log.freeAt(nowMs, missing) ?? this.ledger.emptyAt(limit, nowMs), withoutMs)
  }

  #reserve(pool: PoolNode, limits: readonly number[], tokens: number, { atMs, binding }: Fit): void {
    const { round, ledger } = this
    if (binding >= 0) this.#note(binding, costOf(limitOf(round, binding), tokens))
    for (const index of limits) {
      const limit = limitOf(round, index)
      if (limit.windowMs === 0 || this.#reservations.has(index)) continue
      const freeThen = ledger.free(limit, round.nowMs) + ledger.log(limit).freedBy(atMs)
      this.#reservations.set(index, { atMs, extra: Math.max(0, freeThen - costOf(limit, tokens)) })
    }
    this.#refusedHeads.set(pool, (this.#refusedHeads.get(pool) ?? 0) + 1)
    if (!this.#frontAtMs.has(pool)) this.#frontAtMs.set(pool, atMs)
  }

  #note(index: number, cost: number): void {
    this.#tooMuch.set(index, Math.min(cost, this.#tooMuch.get(index) ?? Infinity))
  }

  #give(
    pool: PoolNode,
    tenant: TenantNode,
    flow: FlowNode,
    limits: readonly number[],
    tokens: number,
    fitsAtMs: number,
  ): void {
    const { round, ledger } = this
    const atMs = Math.max(round.nowMs, fitsAtMs)
    for (const index of limits) {
      const limit = limitOf(round, index)
      const cost = costOf(limit, tokens)
      if (limit.windowMs > 0) ledger.charge(limit, atMs, cost)
      const reservation = this.#reservations.get(index)
      if (reservation) reservation.extra -= cost
    }
    ledger.control.dated(pool.name, atMs)
    if (atMs > round.nowMs) this.#filling.add(pool)
    const { processId, key, draws } = flow
    this.tree.serve(pool, tenant, flow, round.nowMs)
    this.grant({ processId, key, atMs, tokens, draws })
  }

  /** Tells of every queue, and what a process may do in it without asking. */
  #report(): void {
    for (const [index, name] of this.round.spec.pools.entries()) {
      const pool = this.tree.pools.get(name)
      if (!pool) continue
      this.round.queues.push([index, this.#frontAtMs.get(pool) ?? 0, pool.load, pool.waiting])
      offerHandoffs(this.round, this.ledger, pool)
    }
  }
}

const isShown = (flow: FlowNode) => shownOf(flow) > 0

/** Pools whose front was promised a date, in the order of the promises. */
export function fronts(pools: FairTree['pools']): PoolNode[] {
  return [...pools.values()]
    .filter(({ front }) => front !== undefined)
    .sort((a, b) => a.front!.sinceMs - b.front!.sinceMs || (a.name < b.name ? -1 : 1))
}

/** The flow that was promised a pool's next date. */
export function flowInFront({ front, tenants }: PoolNode): FlowNode | undefined {
  const flow = front && tenants.get(front.tenant)?.flows.get(front.flow)
  return flow && flow.count > 0 ? flow : undefined
}

/** The one with the smallest tag (then name) that is not blocked and may go. */
function first<T extends Tagged>(
  nodes: FreshMap<string, T>,
  blocked: ReadonlySet<T>,
  mayGo: (node: T) => boolean = () => true,
): T | undefined {
  let best: T | undefined
  let bestName = ''
  for (const [name, node] of nodes) {
    if (best && (node.tag > best.tag || (node.tag === best.tag && name > bestName))) continue
    if (blocked.has(node) || !mayGo(node)) continue
    best = node
    bestName = name
  }
  return best
}
