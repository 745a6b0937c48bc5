import type { Exchange, ExchangeReply, GroupSpec, LimitSpec } from './store.js'

/** One exchange's working set. */
export interface Round {
  readonly nowMs: number
  /** What the clock read beyond that. */
  readonly fractionMs: number
  readonly spec: GroupSpec
  readonly exchange: Exchange
  /** Index of each limit this process is configured with. */
  readonly limitIndex: ReadonlyMap<string, number>
  readonly poolIndex: ReadonlyMap<string, number>
  /** Grants for this process by flow key. */
  readonly grants: Map<string, number[]>
  readonly refused: [flow: string, limit: number, max: number][]
  readonly handoffs: [flow: string, count: number][]
  readonly queues: [pool: number, frontAtMs: number, loadUs: number, flows: number][]
  retryAtMs: number
  restate: boolean
  /** The exchange brought a journal of a former epoch. */
  replayed: boolean
  share: ExchangeReply['share']
}

export function newRound(spec: GroupSpec, exchange: Exchange, nowMs: number, fractionMs: number): Round {
  return {
    nowMs,
    fractionMs,
    spec,
    exchange,
    limitIndex: new Map(spec.limits.map(({ id }, index) => [id, index])),
    poolIndex: new Map(spec.pools.map((pool, index) => [pool, index])),
    grants: new Map(),
    refused: [],
    handoffs: [],
    queues: [],
    retryAtMs: 0,
    restate: false,
    replayed: false,
    share: null,
  }
}

export function retryAt(round: Round, atMs: number): void {
  const wholeMs = Math.max(round.nowMs + 1, Math.ceil(atMs))
  if (round.retryAtMs === 0 || wholeMs < round.retryAtMs) round.retryAtMs = wholeMs
}

export function giveGrant(round: Round, key: string, atMs: number, tokens: number): void {
  const dated = round.grants.get(key)
  if (dated) dated.push(atMs, tokens)
  else round.grants.set(key, [atMs, tokens])
}

export function limitOf(round: Round, index: number): LimitSpec {
  const limit = round.spec.limits[index]
  if (!limit) throw new RangeError(`limit index must be below ${round.spec.limits.length}, got ${index}`)
  return limit
}

export function poolOf(round: Round, index: number): string {
  const pool = round.spec.pools[index]
  if (pool === undefined) throw new RangeError(`pool index must be below ${round.spec.pools.length}, got ${index}`)
  return pool
}

/** What a request of `tokens` takes of a limit. */
export function costOf({ dimension }: LimitSpec, tokens: number): number {
  return dimension === 'tokens' ? tokens : 1
}
