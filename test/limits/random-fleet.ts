import {
  type Adjustment,
  type Exchange,
  type ExchangeReply,
  type FlowStatement,
  type GroupSpec,
  type GroupStore,
  type GroupUsage,
  type Journal,
  NO_NEWS,
} from '../../src/limits/store.js'
import { ageOf } from '../../src/limits/learning.js'
import { memoryMs } from '../../src/limits/members.js'
import { bucketOf, bucketWidthMs } from '../../src/limits/window.js'
import { type Audit, rate, type StoreWorld, slots } from './driver.js'
import { FLOWS, type Op } from './random-story.js'

const LEASE_MS = 4_000
const ISOLATED_MS = 3_000
/** The longest that a batch is on its way. */
const DELIVERY_MS = 2_000

const R = rate('r', 8, 2_000)
const T = rate('t', 80, 2_000, 'tokens')
const D = rate('d', 2_000, 700_000, 'tokens')
const C = slots('c', 20)
const S = slots('s', 2)
const X = rate('x', 3, 2_000)

/** Two processes know all limits; a third was configured otherwise and in another order. */
export const WIDE: GroupSpec = {
  namespace: 'test',
  group: 'g',
  pools: ['p0', 'p1', 'p2'],
  limits: [R, T, D, C, S, X],
  draws: [[0, 1, 2, 3], [0, 3], [4]],
}
const NARROW: GroupSpec = {
  namespace: 'test',
  group: 'g',
  pools: ['p2', 'p0'],
  limits: [C, S, { ...R, limit: 7 }, T, D],
  draws: [[1], [2, 3, 4, 0]],
}

export interface Granted {
  readonly flow: number
  readonly atMs: number
  readonly tokens: number
}

const NOTHING_SAID = { coolDowns: [], paused: [], overrides: [], poolWords: [], limitWords: [] }

/** One process that behaves as a dispatcher might, and remembers what it was granted. */
class Process {
  readonly spec: GroupSpec
  store!: GroupStore
  incarnation = 0
  seq = 0
  epoch = ''
  version = 0
  roster: readonly string[] = []
  floors: readonly number[] = []
  said: Pick<Journal, 'coolDowns' | 'paused' | 'overrides' | 'poolWords' | 'limitWords'> = NOTHING_SAID
  used: ExchangeReply['used'] = []
  last: Exchange | undefined
  held: Granted[] = []
  charges = new Map<string, number>()
  /** Store time of its last accepted exchange. */
  seenMs = 0

  constructor(readonly index: number) {
    this.spec = index === 2 ? NARROW : WIDE
  }

  get id(): string {
    return `m${this.index}.${this.incarnation}`
  }

  limit(id: string): number {
    return this.spec.limits.findIndex((limit) => limit.id === id)
  }

  draws(flow: number): number[] | undefined {
    const [poolName, , , , more] = FLOWS[flow]!
    const own = this.spec.draws[this.spec.pools.indexOf(poolName)]
    const extra = more.map((id) => this.limit(id))
    return own && !extra.includes(-1) ? [...own, ...extra] : undefined
  }

  statement(nowMs: number, { flow, count, costs, waited }: Extract<Op, { do: 'ask' }>['flows'][number]) {
    const draws = this.draws(flow)
    if (!draws) return undefined
    const [poolName, tenant, tenantWeight, classWeight] = FLOWS[flow]!
    const perToken = poolName === 'p0' ? 12_500_000 : 0
    const base = 125_000
    const shown = perToken === 0 ? [] : costs.slice(0, count)
    const load = base * count + shown.reduce((sum, tokens) => sum + tokens, 0)
    const statement: FlowStatement = {
      ...{ key: `f${flow}`, pool: this.spec.pools.indexOf(poolName), tenant, tenantWeight, classWeight, draws },
      ...{ base, perToken, count, load, sinceMs: nowMs - waited, costs: shown },
    }
    return statement
  }

  note(reply: ExchangeReply): void {
    this.epoch = reply.epoch
    this.version = reply.version
    this.used = reply.used
    const { paused, overrides, poolWords, limitWords } = reply
    const coolDowns = reply.coolDowns.map(([pool, untilMs]) => [pool, untilMs] as const)
    this.said = { coolDowns, paused, overrides, poolWords, limitWords }
    if (reply.share) {
      this.roster = reply.share.roster
      this.floors = reply.share.floors
    }
    for (const [key, ...dated] of reply.grants) {
      for (let i = 0; i < dated.length; i += 2) {
        const granted = { flow: Number(key.slice(1)), atMs: dated[i]!, tokens: dated[i + 1]! }
        this.held.push(granted)
        this.charge(granted, 1)
      }
    }
  }

  charge({ flow, atMs, tokens }: Granted, sign: number): void {
    for (const index of this.draws(flow)!) {
      const { windowMs, dimension } = this.spec.limits[index]!
      if (windowMs === 0) continue
      const key = `${index}|${bucketOf(atMs, bucketWidthMs(windowMs))}`
      this.charges.set(key, (this.charges.get(key) ?? 0) + sign * (dimension === 'tokens' ? tokens : 1))
    }
  }

  exchange(more: Partial<Exchange>, candidateEpoch: string): Exchange {
    const isJoin = this.seq === 0
    const isKnown = this.epoch !== ''
    const charges = [...this.charges].flatMap(([key, amount]) => {
      const [limit, bucket] = key.split('|').map(Number)
      return amount > 0 ? [[limit!, bucket!, amount] as const] : []
    })
    return {
      ...{ processId: this.id, seq: ++this.seq, leaseMs: LEASE_MS, holdUntilMs: 0, isolatedMs: ISOLATED_MS },
      ...{ knownEpoch: this.epoch, knownVersion: this.version, candidateEpoch, distrust: false, held: [] },
      journal:
        isJoin && isKnown
          ? {
              ...{
                charges,
                roster: this.roster,
                used: this.used,
                storeMs: this.seenMs,
                ceilings: [[this.limit('c'), 2]],
              },
              ...this.said,
            }
          : null,
      ...{ ...NO_NEWS, floors: isJoin ? this.floors : [], flows: [], leave: false },
      ...more,
    }
  }
}

export interface Played {
  readonly trail: readonly (ExchangeReply | GroupUsage | 'woken')[]
  /** Every grant with its process, as its charges stood at the end: refunds are taken off. */
  readonly grants: readonly (Granted & { draws: readonly string[] })[]
}

/** Plays a story in one world; `check` looks at the books after every step. */
export async function play(
  world: StoreWorld,
  ops: readonly Op[],
  check: (audit: Audit, inFlight: Record<string, number>) => void,
  /** Whether calls go on when their process's lease ended: it comes back with them, over the limit if need be. */
  outlives: boolean,
): Promise<Played> {
  const trail: (ExchangeReply | GroupUsage | 'woken')[] = []
  const grants: (Granted & { draws: readonly string[]; tokens: number })[] = []
  const { instant } = world
  let epochs = 0
  const processes = [0, 1, 2].map((index) => new Process(index))
  for (const process of processes) process.store = await world.open(process.spec)
  /** By name, newest first. */
  const sent = processes.map((): { readonly atMs: number; readonly exchange: Exchange }[] => [])

  const send = async (process: Process, more: Partial<Exchange>) => {
    if (process.seq === 0) {
      // Nothing it spent counts any more, and the store may have forgotten it: that is no loss.
      if (!outlives && instant.nowMs > process.seenMs + memoryMs(process.spec)) process.epoch = ''
      // A process that comes up holds the slots of the calls it still runs.
      const held = new Map<number, number>()
      for (const { flow } of process.held) {
        for (const index of process.draws(flow)!) {
          if (process.spec.limits[index]!.windowMs === 0) held.set(index, (held.get(index) ?? 0) + 1)
        }
      }
      more = { ...more, held: [...held] }
    }
    process.last = process.exchange(more, `${ageOf(process.epoch) + 1}-${++epochs}`)
    sent[process.index]!.unshift({ atMs: instant.nowMs, exchange: process.last })
    const before = process.held.length
    const reply = await process.store.exchange(process.last)
    trail.push(reply)
    if (reply.fenced) {
      process.incarnation++
      process.seq = 0
      if (!outlives) process.held = []
      return
    }
    process.seenMs = reply.nowMs
    process.note(reply)
    for (const granted of process.held.slice(before)) {
      const draws = process.draws(granted.flow)!.map((index) => process.spec.limits[index]!.id)
      const row = { ...granted, draws }
      process.held[process.held.indexOf(granted)] = row
      grants.push(row)
    }
  }

  for (const op of ops) {
    if (op.do === 'advance') instant.nowMs += op.ms
    else if (op.do === 'lose') await world.lose()
    else if (op.do === 'failover') world.failOver()
    else if (op.do === 'control') await processes[0]!.store.control(op.change)
    else {
      const process = processes[op.who]!
      if (op.do === 'ask') {
        const statements = op.flows.flatMap((flow) => process.statement(instant.nowMs, flow) ?? [])
        await send(process, { flows: statements })
      } else if (op.do === 'settle') {
        // Who has to join first does so with all it holds.
        if (process.seq === 0) await send(process, {})
        await send(process, settlement(process, op, instant.nowMs))
      } else if (op.do === 'observe') {
        const observed = [[op.limit, op.max, op.foreign, instant.nowMs + op.forMs] as const]
        await send(process, { observed })
      } else if (op.do === 'echo') {
        const { atMs = 0, exchange } = sent[op.who]![op.back] ?? {}
        const isOnItsWay = Math.abs(instant.nowMs - atMs) <= DELIVERY_MS
        if (exchange && isOnItsWay) trail.push(await process.store.exchange(exchange))
      } else if (op.do === 'distrust') await send(process, { distrust: true })
      else if (op.do === 'skip') {
        if (process.seq > 0) process.seq++
        await send(process, {})
      } else if (op.do === 'repeat') {
        const alive = instant.nowMs < process.seenMs + LEASE_MS
        if (process.last && process.seq > 0 && alive) trail.push(await process.store.exchange(process.last))
      } else {
        if (op.do === 'leave' && process.seq > 0) {
          process.held = []
          await send(process, { leave: true })
        }
        // A new incarnation knows nothing of the former one.
        await process.store.close()
        const next = new Process(op.who)
        next.incarnation = process.incarnation + 1
        next.store = await world.open(next.spec)
        processes[op.who] = next
      }
    }
    const usage = await processes[0]!.store.usage()
    trail.push(usage)
    const inFlight: Record<string, number> = {}
    for (const process of processes) {
      if (instant.nowMs >= process.seenMs + LEASE_MS) continue
      for (const { flow } of process.held) {
        for (const index of process.draws(flow)!) {
          const { id, windowMs } = process.spec.limits[index]!
          if (windowMs === 0) inFlight[id] = (inFlight[id] ?? 0) + 1
        }
      }
    }
    check(await world.audit(), inFlight)
  }
  return { trail, grants }
}

/** The end of a call: its slots, what it took more or less, and how it felt. */
function settlement(process: Process, op: Extract<Op, { do: 'settle' }>, nowMs: number): Partial<Exchange> {
  const granted = process.held[op.pick % Math.max(1, process.held.length)]
  if (!granted) return {}
  process.held.splice(process.held.indexOf(granted), 1)
  const { flow, atMs, tokens } = granted
  const freed: [number, number][] = []
  const adjustments: Adjustment[] = []
  for (const index of process.draws(flow)!) {
    const { windowMs, dimension, id } = process.spec.limits[index]!
    if (windowMs === 0) freed.push([index, 1])
    else {
      const cost = dimension === 'tokens' ? tokens : 1
      const bucket = bucketOf(atMs, bucketWidthMs(windowMs))
      const delta = op.refund ? -cost : dimension === 'tokens' ? Math.max(-cost, op.delta) : 0
      if (delta !== 0) adjustments.push([index, bucket, delta])
      if (delta < 0) {
        const key = `${index}|${bucket}`
        process.charges.set(key, (process.charges.get(key) ?? 0) + delta)
        const row = granted as Granted & { refunds?: Record<string, number> }
        row.refunds = { ...row.refunds, [id]: -delta }
      }
    }
  }
  const [poolName, tenant] = FLOWS[flow]!
  const poolIndex = process.spec.pools.indexOf(poolName)
  return {
    freed,
    adjustments,
    cuts: op.cut ? [[process.limit(poolName === 'p2' ? 's' : 'c'), atMs]] : [],
    coolDowns: op.coolMs > 0 ? [[poolIndex, nowMs + op.coolMs]] : [],
    service: op.service === 0 ? [] : [[poolIndex, tenant, `f${flow}`, op.service]],
  }
}
