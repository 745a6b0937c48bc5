import { memoryMs } from './members.js'
import type { ControlChange, Exchange, ExchangeReply, GroupSpec, GroupUsage } from './store.js'

/**
 * How an exchange travels to the script and back: JSON by place, pairs and triples flat, because Redis reads it for every
 * batch. `lua/settle.lua` names the places of a request, `lua/reply.lua` those of a reply.
 */

const KINDS = { requests: 1, tokens: 2, concurrency: 3 } as const
/** A group that nobody asks about goes so long after its longest window. */
const KEEP_MS = 60_000

/** What a process is configured with: the same in each of its exchanges. */
export function encodeSpec(spec: GroupSpec): string {
  const limits = spec.limits.flatMap(({ id, dimension, limit, windowMs, holdMs }) => [
    id,
    KINDS[dimension],
    limit,
    windowMs,
    holdMs,
  ])
  const longestMs = Math.max(0, ...spec.limits.map(({ windowMs, holdMs }) => windowMs + holdMs))
  return JSON.stringify([limits, spec.pools, spec.draws, memoryMs(spec), longestMs + KEEP_MS])
}

/** `server`: 0 on a connection that was used before, 1 to look who answers, or a name in its place. */
export function encodeExchange(spec: GroupSpec, its: Exchange, isSubscribed: boolean, server: 0 | 1 | string): string {
  const flows: (string | number)[] = []
  for (const flow of its.flows) {
    const { key, pool, tenant, tenantWeight, classWeight, base, perToken, count, load, sinceMs, costs } = flow
    const draws = drawsText(spec, flow.draws)
    flows.push(key, pool, tenant, tenantWeight, classWeight, draws, base, perToken, count, load, sinceMs)
    flows.push(costs.join(','), costs.length)
  }
  const { journal } = its
  return JSON.stringify([
    its.processId,
    its.seq,
    its.leaseMs,
    its.holdUntilMs,
    its.isolatedMs,
    its.knownEpoch,
    its.knownVersion,
    its.candidateEpoch,
    its.distrust ? 1 : 0,
    isSubscribed ? 1 : 0,
    its.leave ? 1 : 0,
    its.held.flat(),
    journal && [
      journal.charges.flat(),
      journal.roster,
      journal.used.flat(),
      journal.ceilings.flat(),
      journal.coolDowns.flat(),
      journal.paused,
      journal.overrides.flat(),
      journal.poolWords.flat(),
      journal.limitWords.flat(),
      journal.storeMs,
    ],
    its.adjustments.flat(),
    its.freed.flat(),
    its.cuts.flat(),
    its.coolDowns.flat(),
    its.observed.flat(),
    its.service.flat(),
    flows,
    its.floors,
    server,
  ])
}

export function encodeControl(change: ControlChange): string {
  return JSON.stringify(
    change.type === 'limit' ? ['limit', change.id, change.base, change.limit] : [change.type, change.pool],
  )
}

type ReplyPlaces = readonly [
  readMs: number,
  epoch: string,
  version: number,
  fenced: 0 | 1,
  learnUntilMs: number,
  grants: ExchangeReply['grants'],
  refused: ExchangeReply['refused'],
  retryAtMs: number,
  restate: 0 | 1,
  handoffs: ExchangeReply['handoffs'],
  queues: ExchangeReply['queues'],
  coolDowns: ExchangeReply['coolDowns'],
  paused: ExchangeReply['paused'],
  ceilings: ExchangeReply['ceilings'],
  overrides: ExchangeReply['overrides'],
  used: ExchangeReply['used'],
  poolWords: ExchangeReply['poolWords'],
  limitWords: ExchangeReply['limitWords'],
  share: readonly [roster: readonly string[], floors: readonly number[]] | null,
  setBackMs: number,
]

export function decodeReply(text: string): ExchangeReply {
  const [readMs, epoch, version, fenced, learnUntilMs, grants, refused, retryAtMs, restate, ...rest] = JSON.parse(
    text,
  ) as ReplyPlaces
  const [handoffs, queues, coolDowns, paused, ceilings, overrides, used, poolWords, limitWords, share, setBackMs] = rest
  return {
    nowMs: Math.floor(readMs),
    readMs,
    setBackMs,
    epoch,
    version,
    fenced: fenced === 1,
    learnUntilMs,
    grants,
    refused,
    retryAtMs,
    restate: restate === 1,
    handoffs,
    queues,
    coolDowns,
    paused,
    ceilings,
    overrides,
    used,
    poolWords,
    limitWords,
    share: share && { roster: share[0], floors: share[1] },
  }
}

type UsagePlaces = readonly [
  nowMs: number,
  /** used, reserved, limit, ceiling, proven of each limit */
  limits: readonly number[],
  processes: readonly (readonly [id: string, slots: readonly (string | number)[]])[],
  paused: readonly (readonly [pool: number, untilMs: number | null])[],
]

export function decodeUsage(spec: GroupSpec, text: string): GroupUsage {
  const [nowMs, numbers, members, paused] = JSON.parse(text) as UsagePlaces
  const limits = spec.limits.map(({ id }, index) => {
    const [used = 0, reserved = 0, limit = 0, ceiling = 0, proven = 0] = numbers.slice(5 * index, 5 * index + 5)
    return { id, used, reserved, limit, ceiling, proven }
  })
  const processes: Record<string, Record<string, number>> = {}
  for (const [id, its] of members) {
    const slots: Record<string, number> = {}
    for (let i = 0; i < its.length; i += 2) slots[its[i]!] = Number(its[i + 1])
    processes[id] = slots
  }
  const pausedUntilMs: Record<string, number> = {}
  for (const [pool, untilMs] of paused) pausedUntilMs[spec.pools[pool]!] = untilMs ?? Number.POSITIVE_INFINITY
  return { nowMs, limits, processes, pausedUntilMs }
}

/** A plan hands out the same list for all requests of a tenant, so their ids are put together once. */
const drawsTexts = new WeakMap<readonly number[], string>()

function drawsText({ limits }: GroupSpec, draws: readonly number[]): string {
  let text = drawsTexts.get(draws)
  if (text === undefined) {
    text = draws.map((index) => limits[index]!.id).join('\n')
    drawsTexts.set(draws, text)
  }
  return text
}
