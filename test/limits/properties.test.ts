import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Charge, ExchangeReply } from '../../src/limits/store.js'
import { groupOf, Member, memoryKind, rate, redisKind, type StoreKind, slots } from './driver.js'

const LEASE_MS = 2_000
const HOLD_MS = 200
const SPEC = groupOf(rate('r', 6, 1_000), rate('t', 60, 1_000), rate('d', 150, 5_000), slots('c', 3))
const CONCURRENCY = 3

type Op =
  | { do: 'advance'; ms: number }
  | { do: 'ask'; who: number; costs: number[]; flow: number }
  | { do: 'settle'; who: number; pick: number; delta: number; refund: boolean; cut: boolean }
  | { do: 'repeat'; who: number }
  | { do: 'crash'; who: number }

const who = fc.nat(2)
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 900 }) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      who,
      costs: fc.array(fc.integer({ min: 1, max: 45 }), { maxLength: 5 }),
      flow: fc.nat(2),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      who,
      pick: fc.nat(9),
      delta: fc.integer({ min: -30, max: 20 }),
      refund: fc.boolean(),
      cut: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('repeat' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), who }) },
)

interface Spent {
  readonly index: number
  readonly atMs: number
  amount: number
}

/** What a bystander knows: every charge as the provider may see it, and every slot that may be in use. */
class Ledger {
  readonly spent = new Map<string, Spent[]>()
  readonly debts: Spent[] = []
  /** Slots of members that died, and when they come back. */
  readonly buried: { slots: number; untilMs: number }[] = []

  constructor(
    readonly members: readonly Member[],
    readonly lastSeenMs: readonly number[],
  ) {}

  grant(key: string, charges: readonly Charge[], atMs: number): void {
    this.spent.set(
      key,
      charges.filter(([index]) => index < 3).map(([index, amount]) => ({ index, atMs, amount })),
    )
  }

  settle(key: string, delta: number, refund: boolean, atMs: number): void {
    for (const row of this.spent.get(key) ?? []) {
      if (refund) row.amount = 0
      else if (delta < 0) row.amount = Math.max(0, row.amount + delta)
      else this.debts.push({ index: row.index, atMs, amount: delta })
    }
  }

  /** Just after a grant: arrivals may be as late as slack and guard allow, so a window reaches that much further back. */
  check(nowMs: number): void {
    SPEC.limits.slice(0, 3).forEach(({ limit, windowMs }, index) => {
      let sum = 0
      for (const row of [...[...this.spent.values()].flat(), ...this.debts]) {
        if (row.index === index && row.atMs > nowMs - windowMs - HOLD_MS) sum += row.amount
      }
      expect(sum).toBeLessThanOrEqual(limit)
    })
    // A member past its lease holds nothing any more, whether or not it knows.
    const holds = (member: Member, index: number) => (nowMs < this.lastSeenMs[index]! + LEASE_MS ? member.held.size : 0)
    const living = this.members.reduce((total, member, index) => total + holds(member, index), 0)
    const dead = this.buried.reduce((total, { slots, untilMs }) => total + (untilMs > nowMs ? slots : 0), 0)
    expect(living + dead).toBeLessThanOrEqual(CONCURRENCY)
  }
}

async function play(kind: StoreKind, ops: readonly Op[]): Promise<(ExchangeReply | string)[]> {
  const world = await kind.fresh()
  const trail: (ExchangeReply | string)[] = []
  const lastSeenMs: number[] = []
  let born = 0
  const join = (index: number) => {
    lastSeenMs[index] = world.instant.nowMs
    return new Member(world.open(SPEC), `m${index}.${born++}`, world.instant, SPEC)
  }
  const members = [0, 1, 2].map(join)
  const ledger = new Ledger(members, lastSeenMs)
  const bury = (index: number) => {
    ledger.buried.push({ slots: members[index]!.held.size, untilMs: lastSeenMs[index]! + LEASE_MS })
    members[index] = join(index)
  }
  const note = async (index: number, work: (member: Member) => Promise<ExchangeReply>) => {
    const member = members[index]!
    const before = new Set(member.held.keys())
    const reply = await work(member)
    trail.push(reply)
    if (reply.fenced) return bury(index)
    lastSeenMs[index] = world.instant.nowMs
    for (const held of member.held.values()) {
      if (!before.has(held.grant)) ledger.grant(`${member.id}/${held.grant}`, held.charges, reply.nowMs)
    }
    if (reply.grants.length > 0) ledger.check(reply.nowMs)
  }
  for (const step of ops) {
    if (step.do === 'advance') world.instant.nowMs += step.ms
    else if (step.do === 'crash') bury(step.who)
    else if (step.do === 'ask') {
      const asks = step.costs.map((cost) => ({
        flow: step.flow,
        charges: [[0, 1] as const, [1, cost] as const, [2, cost] as const, [3, 1] as const],
      }))
      await note(step.who, (member) => member.ask(asks, [], { leaseMs: LEASE_MS }))
    } else if (step.do === 'repeat') {
      const member = members[step.who]!
      // Past its lease a repeated first batch joins anew, which is no repetition.
      const alive = world.instant.nowMs < lastSeenMs[step.who]! + LEASE_MS
      if (member.last && alive) trail.push(await member.repeat())
    } else {
      const member = members[step.who]!
      const held = [...member.held.keys()]
      const grant = held[step.pick % Math.max(1, held.length)]
      if (grant === undefined || world.instant.nowMs >= lastSeenMs[step.who]! + LEASE_MS) continue
      const { delta, refund, cut } = step
      const settlement = member.settlement(grant, { delta, refund, cuts: cut ? [3] : [] })
      ledger.settle(`${member.id}/${grant}`, delta, refund, world.instant.nowMs)
      await note(step.who, (m) => m.ask([], [settlement, settlement], { leaseMs: LEASE_MS }))
    }
    for (const { sum, bucketSum } of await world.audit(SPEC)) expect(sum).toBe(bucketSum)
  }
  return trail
}

describe('store properties: any interleaving of acquire, settle, return, repeat, crash and lease expiry', () => {
  const memory = memoryKind()
  const redis = redisKind()
  beforeAll(() => redis.start())
  afterAll(() => redis.stop())

  test('no window and no concurrency is ever over its limit, sums equal live buckets, and both stores answer alike', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 5, maxLength: 60 }), async (ops) => {
        expect(await play(redis, ops)).toEqual(await play(memory, ops))
      }),
      { numRuns: 250 },
    )
  })

  test('in memory, over many more runs', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(op, { minLength: 20, maxLength: 150 }), async (ops) => {
        await play(memory, ops)
      }),
      { numRuns: 1_000 },
    )
  })
})
