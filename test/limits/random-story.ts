import fc from 'fast-check'
import type { ControlChange } from '../../src/limits/store.js'

/** Flows of a random fleet: pool, tenant, its weight, the class's weight, limits besides the pool's. */
export const FLOWS: readonly (readonly [string, string, number, number, readonly string[]])[] = [
  ['p0', 't0', 1, 1, []],
  ['p0', 't0', 1, 4, []],
  ['p0', 't1', 2, 1, ['x']],
  ['p0', 't2', 0.5, 2, []],
  ['p1', 't0', 1, 1, []],
  ['p1', 't1', 3, 2, ['x']],
  ['p2', 't0', 1, 1, []],
  ['p2', 't1', 2, 1, []],
]

export type Op =
  | { do: 'advance'; ms: number }
  | { do: 'ask'; who: number; flows: { flow: number; count: number; costs: number[]; waited: number }[] }
  | {
      do: 'settle'
      who: number
      pick: number
      delta: number
      cut: boolean
      coolMs: number
      service: number
      refund: boolean
    }
  | { do: 'observe'; who: number; limit: number; max: number; foreign: number; forMs: number }
  | { do: 'repeat' | 'crash' | 'leave' | 'distrust' | 'skip'; who: number }
  | { do: 'echo'; who: number; back: number }
  | { do: 'control'; change: ControlChange }
  | { do: 'lose' }
  | { do: 'failover' }

const who = fc.nat(2)
const flows = fc.uniqueArray(
  fc.record({
    flow: fc.nat(FLOWS.length - 1),
    count: fc.nat(12),
    costs: fc.array(fc.oneof({ weight: 20, arbitrary: fc.nat(30) }, { weight: 1, arbitrary: fc.nat(100) }), {
      maxLength: 9,
    }),
    waited: fc.constantFrom(0, 100, 40_000, 70_000),
  }),
  { maxLength: 4, selector: ({ flow }) => flow },
)
const advance = fc.record({
  do: fc.constant('advance' as const),
  ms: fc.oneof(
    { weight: 12, arbitrary: fc.integer({ min: 0, max: 300 }) },
    { weight: 4, arbitrary: fc.integer({ min: 300, max: 1_200 }) },
    { weight: 1, arbitrary: fc.constantFrom(-500, 2_500, 10_000, 11_000, 30_000) },
  ),
})
const ask = fc.record({ do: fc.constant('ask' as const), who, flows })
const settle = fc.record({
  do: fc.constant('settle' as const),
  who,
  pick: fc.nat(9),
  delta: fc.integer({ min: -30, max: 20 }),
  cut: fc.boolean(),
  coolMs: fc.constantFrom(0, 0, 0, 400, 3_000),
  service: fc.integer({ min: -100_000, max: 100_000 }),
  refund: fc.boolean(),
})
const observe = fc.record({
  do: fc.constant('observe' as const),
  who,
  limit: fc.nat(4),
  max: fc.constantFrom(0, 3, 50),
  foreign: fc.nat(5),
  forMs: fc.nat(1_500),
})
const oneOf = (...names: ('repeat' | 'crash' | 'leave' | 'distrust' | 'skip')[]) =>
  fc.record({ do: fc.constantFrom(...names), who })
/** A batch that was on its way twice, or that its process gave up. */
const echo = fc.record({ do: fc.constant('echo' as const), who, back: fc.nat(5) })
const pool = fc.constantFrom('p0', 'p1', 'p2')
const control = fc.record({
  do: fc.constant('control' as const),
  change: fc.oneof(
    fc.record({ type: fc.constantFrom('pause' as const, 'resume' as const), pool }),
    fc.record({
      type: fc.constant('limit' as const),
      id: fc.constantFrom('r', 'c', 't'),
      base: fc.constantFrom(8, 7, 3, 80),
      limit: fc.integer({ min: 1, max: 20 }),
    }),
  ),
})

/** Everything that can happen to a store. */
export const anyOp: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: advance },
  { weight: 12, arbitrary: ask },
  { weight: 8, arbitrary: settle },
  { weight: 2, arbitrary: observe },
  { weight: 3, arbitrary: oneOf('repeat', 'crash', 'leave') },
  { weight: 2, arbitrary: echo },
  { weight: 2, arbitrary: control },
  {
    weight: 1,
    arbitrary: fc.oneof(
      oneOf('distrust', 'skip'),
      fc.constantFrom({ do: 'lose' as const }, { do: 'failover' as const }),
    ),
  },
)

/** Only what a provider's limit must withstand without exception. */
export const calmOp: fc.Arbitrary<Op> = fc.oneof(
  { weight: 12, arbitrary: advance.filter(({ ms }) => ms >= 0) },
  { weight: 12, arbitrary: ask },
  { weight: 16, arbitrary: settle.map((op) => ({ ...op, delta: Math.min(0, op.delta), cut: false })) },
  { weight: 1, arbitrary: oneOf('repeat', 'crash', 'leave') },
  { weight: 1, arbitrary: echo },
)
