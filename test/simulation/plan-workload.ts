import type { GateOptions, PoolOptions } from '../../src/config.js'
import type { RequestPlan } from './plan.js'
import type { Random } from './random.js'

/** Requests come in during this long. */
const WORK_MS = 58_000
const PRIORITIES = ['high', 'normal', 'normal', 'low'] as const

export interface Workload {
  readonly config: GateOptions
  readonly processes: number
  readonly requests: readonly RequestPlan[]
}

interface Capacity {
  /** What a pool is good for, per second. */
  readonly perSecond: number
  readonly tokensPerSecond: number
  readonly tokens: number
}

/** Pools, limits and tenants, and requests that keep them about full. */
export function planWorkload(random: Random): Workload {
  const processes = random.int(3, 6)
  const poolCount = random.pick([1, 1, 1, 2, 2, 3])
  const shared = poolCount > 1
  const pools: Record<string, PoolOptions> = {}
  const capacities = new Map<string, Capacity>()
  const hold = random.chance(0.25)
  const provider = random.pick(['glm', 'glm', 'openai', 'deepseek'])
  for (let index = 0; index < poolCount; index++) {
    const { options, capacity } = planPool(random, provider, poolCount, hold)
    pools[`pool${index}`] = options
    capacities.set(`pool${index}`, capacity)
  }
  const tenants = planTenants(random)
  const total = [...capacities.values()].reduce((sum, { perSecond }) => sum + perSecond, 0)
  const accounts = { requests: [{ limit: Math.max(30, Math.floor(total * 10 * 0.9)), per: 10_000 }] }
  const config: GateOptions = { pools, tenants, ...(shared && { limitSets: { account: accounts } }) }
  const load = random.between(0.6, 1.25)
  const requests = planRequests(random, processes, capacities, Object.keys(tenants), load)
  return { config, processes, requests }
}

/** By window, so that a pool's slack takes no draw of its own and seeds stay as they were. */
const SLACKS: Readonly<Record<number, number>> = { 5000: 200, 20000: 25 }

function planPool(random: Random, provider: string, poolCount: number, hold: boolean) {
  const windowMs = random.pick([2_000, 5_000, 10_000, 10_000, 20_000])
  const perSecond = random.between(5.5, 8.5) / poolCount
  const kinds = random.pick([
    ['requests'],
    ['requests', 'tokens'],
    ['requests', 'concurrency'],
    ['all'],
    ['concurrency'],
    ['tokens', 'concurrency'],
  ])
  const has = (kind: string) => kinds.includes(kind) || kinds.includes('all')
  const tokensPerSecond = Math.floor(perSecond * 500 * random.between(0.8, 1.5))
  const tokens = Math.floor((tokensPerSecond * windowMs) / 1000)
  const limits = {
    ...(has('requests') && {
      requests: [{ limit: Math.max(2, Math.floor((perSecond * windowMs) / 1000)), per: windowMs }],
    }),
    ...(has('tokens') && { tokens: [{ limit: tokens, per: windowMs }] }),
    ...(has('concurrency') && { concurrency: random.int(2, 10) }),
    ...(poolCount > 1 && { also: ['account'] }),
  }
  const options: PoolOptions = {
    provider,
    apiKey: 'key',
    limits,
    guardMs: 150,
    ...(windowMs in SLACKS && { slackMs: SLACKS[windowMs] }),
    timeout: random.pick([4_000, 8_000, 15_000]),
    holdUntilCallDeadline: hold,
    retry: { maxAttempts: 6, baseMs: 300, capMs: 5_000 },
    queue: { maxQueued: 200, maxActive: 128 },
    ...(has('concurrency') && { adaptive: true }),
  }
  return { options, capacity: { perSecond, tokensPerSecond, tokens } }
}

function planTenants(random: Random) {
  const names = ['web', 'batch', 'ops', 'lab'].slice(0, random.int(1, 4))
  return Object.fromEntries(names.map((name) => [name, { weight: random.int(1, 4) }]))
}

function planRequests(
  random: Random,
  processes: number,
  capacities: ReadonlyMap<string, Capacity>,
  tenants: readonly string[],
  load: number,
): RequestPlan[] {
  const requests: RequestPlan[] = []
  for (const [pool, { perSecond, tokens }] of capacities) {
    const count = Math.max(Math.ceil(320 / capacities.size), Math.floor((perSecond * load * WORK_MS) / 1000))
    const mostTokens = Math.max(20, Math.min(2_000, Math.floor(tokens / 4)))
    // A cold burst to start with, then as it comes.
    const burst = random.chance(0.5) ? 0.25 : 0.02
    for (let index = 0; index < count; index++) {
      const cost = random.chance(0.03) ? random.int(mostTokens, Math.floor(tokens / 2)) : random.int(1, mostTokens)
      const used = random.chance(0.05) ? cost * random.between(1, 1.4) : cost * random.between(0.3, 1)
      requests.push({
        id: 0,
        atMs: random.chance(burst) ? random.between(20, 1_000) : random.between(20, WORK_MS),
        process: random.int(0, processes - 1),
        pool,
        tenant: random.pick(tenants),
        priority: random.pick(PRIORITIES),
        tokens: cost,
        usedTokens: Math.max(1, Math.floor(used)),
        serviceMs: 20 + random.exponential(400),
        deadlineMs: random.chance(0.06) ? random.between(500, 15_000) : undefined,
        cancelAfterMs: random.chance(0.04) ? random.between(0, 6_000) : undefined,
      })
    }
  }
  return requests.sort((a, b) => a.atMs - b.atMs).map((request, id) => ({ ...request, id }))
}
