import type { FaultPlan } from './plan.js'
import { endOf } from './plan.js'
import type { Random } from './random.js'

/** Every fault is over by then. */
export const HEAL_MS = 62_000
const FIRST_MS = 3_000

type Maker = (random: Random, processes: number, pools: readonly string[]) => FaultPlan[]

const at = (random: Random) => Math.round(random.between(FIRST_MS, HEAL_MS - 4_000))

function onProcess(random: Random, processes: number, leastMs: number, mostMs: number) {
  return {
    atMs: at(random),
    durationMs: Math.round(random.between(leastMs, mostMs)),
    process: random.int(0, processes - 1),
  }
}

function onPool(random: Random, pools: readonly string[], leastMs: number, mostMs: number) {
  return {
    atMs: at(random),
    durationMs: Math.round(random.between(leastMs, mostMs)),
    pool: random.pick(pools),
  }
}

const MAKERS: Readonly<Record<string, Maker>> = {
  crash: (random, processes) => [{ kind: 'crash', ...onProcess(random, processes, 200, 15_000) }],
  pause: (random, processes) => [
    {
      kind: 'pause',
      ...onProcess(
        random,
        processes,
        ...random.pick<[number, number]>([
          [20, 400],
          [400, 5_000],
          [8_000, 20_000],
        ]),
      ),
    },
  ],
  partition: (random, processes) => [
    {
      kind: 'partition',
      mode: random.pick(['vanish', 'reset', 'stall']),
      ...onProcess(
        random,
        processes,
        ...random.pick<[number, number]>([
          [100, 2_500],
          [2_000, 9_000],
          [9_000, 25_000],
        ]),
      ),
    },
  ],
  outage: (random, processes) => {
    // The store itself is gone: from everybody at once.
    const { atMs, durationMs } = onProcess(random, processes, 300, 20_000)
    const mode = random.pick(['vanish', 'reset'] as const)
    return Array.from({ length: processes }, (_, process) => ({ kind: 'partition', mode, atMs, durationMs, process }))
  },
  drop: (random, processes) => [
    { kind: 'drop', share: random.between(0.05, 0.5), ...onProcess(random, processes, 500, 10_000) },
  ],
  duplicate: (random, processes) => [
    { kind: 'duplicate', share: random.between(0.1, 0.6), ...onProcess(random, processes, 1_000, 15_000) },
  ],
  reorder: (random, processes) => [
    { kind: 'reorder', share: random.between(0.05, 0.4), ...onProcess(random, processes, 1_000, 10_000) },
  ],
  'lost-wakes': (random, processes) => [
    { kind: 'lost-wakes', share: random.between(0.3, 1), ...onProcess(random, processes, 1_000, 15_000) },
  ],
  slow: (random, processes) => [
    { kind: 'slow', extraMs: random.between(30, 700), ...onProcess(random, processes, 1_000, 10_000) },
  ],
  flush: (random) => [{ kind: 'flush', atMs: at(random) }],
  failover: (random) => [{ kind: 'failover', atMs: at(random), tailMs: random.between(5, 1_500) }],
  'clock-step': (random) => [
    { kind: 'clock-step', atMs: at(random), byMs: Math.round(random.between(500, 30_000)) * random.pick([1, -1]) },
  ],
  storm: (random, _, pools) => [
    {
      kind: 'storm',
      failure: random.pick(['OVL', 'RLR']),
      retryAfterMs: random.chance(0.5) ? Math.round(random.between(200, 4_000)) : undefined,
      ...onPool(random, pools, 300, 4_000),
    },
  ],
  ceiling: (random, _, pools) => {
    // GLM: 5 → 2 → 1 → 5, without a word.
    const { atMs, durationMs, pool } = onPool(random, pools, 6_000, 20_000)
    const half = Math.round(durationMs / 2)
    return [
      { kind: 'ceiling', slots: 2, atMs, durationMs: half, pool },
      { kind: 'ceiling', slots: 1, atMs: atMs + half, durationMs: half, pool },
    ]
  },
  hang: (random, _, pools) => [
    { kind: 'hang', share: random.between(0.05, 0.4), ...onPool(random, pools, 500, 5_000) },
  ],
  cut: (random, _, pools) => [{ kind: 'cut', share: random.between(0.1, 0.6), ...onPool(random, pools, 500, 8_000) }],
  'server-error': (random, _, pools) => [
    { kind: 'server-error', share: random.between(0.1, 0.5), ...onPool(random, pools, 500, 6_000) },
  ],
  'operator-pause': (random, _, pools) => [{ kind: 'operator-pause', ...onPool(random, pools, 500, 5_000) }],
  'operator-limit': (random, _, pools) => [
    { kind: 'operator-limit', share: random.between(0.3, 0.9), ...onPool(random, pools, 2_000, 15_000) },
  ],
}

export const FAULT_KINDS = Object.keys(MAKERS)

/** At least five faults of the kinds asked for, all over by `HEAL_MS`. */
export function planFaults(
  random: Random,
  processes: number,
  pools: readonly string[],
  kinds: readonly string[] = FAULT_KINDS,
): FaultPlan[] {
  const count = random.int(5, 9)
  let faults: FaultPlan[] = []
  if (kinds.length === 0) return faults
  while (faults.length < count) {
    const more = MAKERS[random.pick(kinds)]!(random, processes, pools)
      .filter(({ atMs }) => atMs < HEAL_MS)
      .map((fault) =>
        'durationMs' in fault && endOf(fault) > HEAL_MS ? { ...fault, durationMs: HEAL_MS - fault.atMs } : fault,
      )
    faults = withoutOverlap([...faults, ...more])
  }
  return faults.sort((a, b) => a.atMs - b.atMs)
}

/** Two faults of one kind on one thing do not overlap: the end of one would end the other. */
function withoutOverlap(faults: readonly FaultPlan[]): FaultPlan[] {
  const kept: FaultPlan[] = []
  for (const fault of faults) {
    const clashes = kept.some(
      (other) => subjectOf(other) === subjectOf(fault) && fault.atMs <= endOf(other) && other.atMs <= endOf(fault),
    )
    if (!clashes || fault.kind === 'ceiling') kept.push(fault)
  }
  return kept
}

function subjectOf(fault: FaultPlan): string {
  const subject = 'process' in fault ? fault.process : 'pool' in fault ? fault.pool : ''
  const kind = fault.kind === 'crash' || fault.kind === 'pause' ? 'life' : fault.kind
  return `${kind}:${subject}`
}
