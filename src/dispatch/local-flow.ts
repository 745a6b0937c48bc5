import { type FlowStatement, type LimitSpec, MAX_COSTS } from '../limits/store.js'
import { nextOf } from './fair-queue.js'
import type { TokenRequest } from './grant.js'

/** One flow of this process: its waiters stand in the fair queue; here is what the store knows of it. */
export interface LocalFlow {
  readonly key: string
  readonly pool: number
  readonly tenant: string
  readonly tenantWeight: number
  readonly classWeight: number
  readonly draws: readonly number[]
  readonly slotsOnly: boolean
  /** The longest that a call of any of them may take. */
  readonly callTimeoutMs: number
  base: number
  readonly perToken: number
  /** First of its waiters. */
  first: TokenRequest | undefined
  waiting: number
  load: number
  /** Grants of the store on their way to a waiter. */
  dated: number
  /** Waiters that the store was told of and has not granted. */
  shown: number
  /** Waiters that may take a freed slot over without asking. */
  handoffs: number
  /** Something changed that the store should hear of. */
  dirty: boolean
}

export function newLocalFlow(request: TokenRequest, limits: readonly LimitSpec[], rates: Rates): LocalFlow {
  const { flowKey, pool, tenant, tenantWeight, classWeight, draws, callTimeoutMs } = request
  return {
    key: flowKey,
    pool,
    tenant,
    tenantWeight,
    classWeight,
    draws,
    slotsOnly: draws.length > 0 && draws.every((index) => limits[index]!.windowMs === 0),
    callTimeoutMs,
    base: rates.base,
    perToken: rates.perToken,
    first: undefined,
    waiting: 0,
    load: 0,
    dated: 0,
    shown: 0,
    handoffs: 0,
    dirty: false,
  }
}

export interface Rates {
  readonly base: number
  readonly perToken: number
}

export function serviceOf({ base, perToken }: Rates, tokens: number): number {
  return Math.max(base, Math.ceil((tokens * perToken) / 1000))
}

/** Whether waiters are left that the store has not been told of, while it knows of none. */
export function isUnheard(flow: LocalFlow): boolean {
  return flow.shown === 0 && flow.waiting > flow.dated
}

/** All that the flow waits for now, without those whose grants are on their way. */
export function stateFlow(flow: LocalFlow, storeTimeOf: (localMs: number) => number): FlowStatement {
  const { key, pool, tenant, tenantWeight, classWeight, draws, base, perToken } = flow
  const costs: number[] = []
  let { load } = flow
  let skip = flow.dated
  let sinceMs = 0
  const uniform = perToken === 0
  for (let waiting = flow.first; waiting && costs.length < MAX_COSTS; waiting = nextOf(waiting)) {
    const { tokens } = waiting
    if (skip-- > 0) {
      load -= serviceOf(flow, tokens)
      continue
    }
    if (costs.length === 0) sinceMs = Math.max(0, Math.floor(storeTimeOf(waiting.sinceMs)))
    if (uniform) break
    costs.push(tokens)
  }
  flow.dirty = false
  flow.handoffs = 0
  const count = Math.max(0, flow.waiting - flow.dated)
  flow.shown = uniform ? count : costs.length
  const stated = { key, pool, tenant, tenantWeight, classWeight, draws, base, perToken, sinceMs, costs }
  return { ...stated, count, load: Math.max(0, load) }
}
