import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Audit, HOLD_MS, memoryKind, redisKind, type StoreKind } from './driver.js'
import { play, WIDE } from './random-fleet.js'
import { anyOp, calmOp, type Op } from './random-story.js'

/** The books are in order, whatever was played. */
function balanced({ rates, counted, held }: Audit): void {
  for (const { sum, bucketSum } of rates) expect(sum).toBe(bucketSum)
  expect(counted).toEqual(held)
}

async function tell(kind: StoreKind, ops: readonly Op[]) {
  const world = await kind.fresh()
  try {
    const audits: Record<string, number>[] = []
    const check = (audit: Audit) => {
      balanced(audit)
      audits.push(audit.counted)
    }
    const { trail } = await play(world, ops, check, true)
    expect((await world.keys()).immortal).toEqual([])
    return { trail, audits }
  } finally {
    await world.end()
  }
}

/** Half of them wild, half of them busy for long enough that windows pass. */
const story = fc.oneof(
  fc.array(anyOp, { minLength: 5, maxLength: 60 }),
  fc.array(calmOp, { minLength: 40, maxLength: 120, size: 'max' }),
)

describe('store properties: any interleaving of batches, settlements, operators, crashes and losses', () => {
  const memory = memoryKind()
  const redis = redisKind()
  beforeAll(() => redis.start())
  afterAll(() => redis.stop())

  test('both stores answer alike, and their books are in order', async () => {
    await fc.assert(
      fc.asyncProperty(story, async (ops) => {
        expect(await tell(redis, ops)).toEqual(await tell(memory, ops))
      }),
      { numRuns: Number(process.env.RUNS ?? 150) },
    )
  })

  test('no window is over its limit by the dates of grants, and no more is in flight than allowed', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(calmOp, { minLength: 20, maxLength: 120, size: 'max' }), async (ops) => {
        const check = (audit: Audit, inFlight: Record<string, number>) => {
          balanced(audit)
          for (const { id, limit } of WIDE.limits) expect(inFlight[id] ?? 0).toBeLessThanOrEqual(limit)
        }
        const { grants } = await play(await memory.fresh(), ops, check, false)
        for (const { id, limit, windowMs, dimension } of WIDE.limits) {
          if (windowMs === 0) continue
          const spent = grants
            .filter(({ draws }) => draws.includes(id))
            .map((its) => {
              const { refunds = {} } = its as { refunds?: Record<string, number> }
              return { atMs: its.atMs, amount: (dimension === 'tokens' ? its.tokens : 1) - (refunds[id] ?? 0) }
            })
          for (const { atMs } of spent) {
            const within = spent.filter((other) => other.atMs <= atMs && other.atMs > atMs - windowMs - HOLD_MS)
            expect(within.reduce((sum, { amount }) => sum + amount, 0)).toBeLessThanOrEqual(limit)
          }
        }
      }),
      { numRuns: 300 },
    )
  })
})
