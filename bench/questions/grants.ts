import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { realClock } from '../../src/clock.js'
import { SLACK_MS } from '../../src/config.js'
import { Dispatcher } from '../../src/dispatch/dispatcher.js'
import type { TokenRequest } from '../../src/dispatch/grant.js'
import { RedisConnection, RedisStore } from '../../src/limits/redis-store.js'
import { type Exchange, type GroupSpec, MAX_GRANTS, NO_NEWS } from '../../src/limits/store.js'
import { distanceTo } from '../harness/distance.js'
import type { Bench, Metrics, Question } from '../harness/question.js'

const WINDOW_MS = 60_000
/** Never binding: what is measured is the way there and back. */
const LIMIT = 1_000_000_000
const FLOW = 'p|default|normal'
const SPEC: GroupSpec = {
  namespace: 'bench',
  group: 'g',
  pools: ['p'],
  limits: [
    {
      id: 'pool:p:requests:60000',
      dimension: 'requests',
      limit: LIMIT,
      windowMs: WINDOW_MS,
      holdMs: 200,
      adaptive: false,
    },
  ],
  draws: [[0]],
}
/** Service of one request in µs, as a dispatcher would state it. */
const BASE_US = 1
const LEASE_MS = 9_000
const WARM_UP_MS = 1_000
const OUTSTANDING = 2_000
/** Exchanges on the wire at a time, of the bare client. */
const PIPELINED = 3

interface Job {
  readonly url: string
  readonly name: string
  readonly startAtMs: number
  readonly seconds: number
}

interface Answer {
  readonly grants: number
  readonly voided: number
  readonly roundTrips: number
  readonly cpuMs: number
}

/** Real waiters under a real dispatcher: each waits anew as soon as it was granted, without actor or call. */
async function dispatch({ url, name, startAtMs, seconds }: Job): Promise<Answer> {
  const connection = new RedisConnection(url)
  const dispatcher = new Dispatcher({
    spec: SPEC,
    store: new RedisStore(SPEC, connection),
    clock: realClock,
    random: Math.random,
    name,
    slackMs: [SLACK_MS],
    leaseMs: LEASE_MS,
    isolatedMs: 0,
    holdUntilCallDeadline: false,
    onNews: ({ type, cause }) => {
      if (type !== 'state') process.stderr.write(`${name}: ${type} ${String(cause ?? '')}\n`)
    },
  })
  dispatcher.start()
  await dispatcher.joined
  let grants = 0
  let voided = 0
  const ask = () => {
    const request: TokenRequest = {
      line: undefined,
      cost: 0,
      at: 0,
      order: 0,
      pool: 0,
      flowKey: FLOW,
      tenant: 'default',
      tenantWeight: 1,
      classWeight: 2,
      draws: SPEC.draws[0]!,
      tokens: 0,
      sinceMs: realClock.now(),
      callTimeoutMs: 60_000,
      onGrant: (grant) => {
        const sent = dispatcher.maySend(grant)
        dispatcher.settle(grant, sent ? {} : { unsent: true })
        if (sent) grants++
        else voided++
        ask()
      },
      onRefused: () => {
        throw new Error('a request was refused')
      },
    }
    dispatcher.request(request)
  }
  await sleep(startAtMs - WARM_UP_MS - Date.now())
  for (let i = 0; i < OUTSTANDING; i++) ask()
  await sleep(startAtMs - Date.now())
  const before = { grants, voided, ...dispatcher.counters, cpu: process.cpuUsage() }
  await sleep(seconds * 1_000)
  const { user, system } = process.cpuUsage(before.cpu)
  const { roundTrips, late } = dispatcher.counters
  return {
    grants: grants - before.grants,
    voided: voided - before.voided + late - before.late,
    roundTrips: roundTrips - before.roundTrips,
    cpuMs: (user + system) / 1_000,
  }
}

/** The same script with the same statement, as fast as one connection takes it, and nothing done with the answer. */
async function bare({ url, name, startAtMs, seconds }: Job): Promise<Answer> {
  const connection = new RedisConnection(url)
  connection.open()
  const store = new RedisStore(SPEC, connection)
  let seq = 0
  let epoch = ''
  let grants = 0
  let roundTrips = 0
  const exchange = async () => {
    const reply = await store.exchange({ ...NOTHING, processId: `${name}.1`, seq: ++seq, knownEpoch: epoch })
    epoch = reply.epoch
    roundTrips++
    for (const [, ...dated] of reply.grants) grants += dated.length / 2
  }
  while (connection.commands.status !== 'ready') await sleep(5)
  await exchange()
  await sleep(startAtMs - WARM_UP_MS - Date.now())
  const untilMs = startAtMs + seconds * 1_000
  const clients = Array.from({ length: PIPELINED }, async () => {
    while (Date.now() < untilMs) await exchange()
  })
  await sleep(startAtMs - Date.now())
  const before = { grants, roundTrips, cpu: process.cpuUsage() }
  await Promise.all(clients)
  const { user, system } = process.cpuUsage(before.cpu)
  connection.close()
  return {
    grants: grants - before.grants,
    voided: 0,
    roundTrips: roundTrips - before.roundTrips,
    cpuMs: (user + system) / 1_000,
  }
}

const NOTHING: Omit<Exchange, 'processId' | 'seq' | 'knownEpoch'> = {
  leaseMs: LEASE_MS,
  holdUntilMs: 0,
  isolatedMs: 0,
  knownVersion: 0,
  candidateEpoch: '1-bench',
  distrust: false,
  held: [],
  floors: [],
  journal: null,
  ...NO_NEWS,
  flows: [
    {
      key: FLOW,
      pool: 0,
      tenant: 'default',
      tenantWeight: 1,
      classWeight: 2,
      draws: SPEC.draws[0]!,
      base: BASE_US,
      perToken: 0,
      count: MAX_GRANTS,
      load: MAX_GRANTS * BASE_US,
      sinceMs: 0,
      costs: [],
    },
  ],
  leave: false,
}

/** One process or several against one Redis, which is `roundTripMs` further away than it is. */
async function measure(bench: Bench, task: string, processes: number, roundTripMs: number): Promise<Metrics> {
  return bench.withRedis(async (server) => {
    const distance = await distanceTo(server.port, roundTripMs / 2)
    const admin = new Redis(server.port)
    try {
      const url = roundTripMs > 0 ? `redis://127.0.0.1:${distance.port}` : server.url
      const startAtMs = Date.now() + 1_500 + WARM_UP_MS
      const answers = Array.from({ length: processes }, (_, index) =>
        bench.child<Answer>(task, { url, name: `p${index}`, startAtMs, seconds: bench.seconds }),
      )
      const [redis, ...rest] = await Promise.all([redisUse(admin, startAtMs, bench.seconds), ...answers])
      const sum = (of: (answer: Answer) => number) => rest.reduce((total, answer) => total + of(answer), 0)
      const grants = sum((answer) => answer.grants)
      return {
        perSecond: grants / bench.seconds,
        usOfProcess: (sum((answer) => answer.cpuMs) * 1_000) / grants,
        usOfRedis: redis.cpuUs / grants,
        roundTrips: sum((answer) => answer.roundTrips) / grants,
        voided: sum((answer) => answer.voided),
      }
    } finally {
      admin.disconnect()
      await distance.close()
    }
  })
}

/** All that Redis took of a core while the processes were measured. */
async function redisUse(admin: Redis, startAtMs: number, seconds: number): Promise<{ cpuUs: number }> {
  await sleep(startAtMs - Date.now())
  const before = await cpuUs(admin)
  await sleep(seconds * 1_000)
  return { cpuUs: (await cpuUs(admin)) - before }
}

async function cpuUs(admin: Redis): Promise<number> {
  const info = await admin.info('cpu')
  const seconds = (kind: string) => Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)?.[1])
  return (seconds('sys') + seconds('user')) * 1e6
}

const FLEETS = [
  [1, 0],
  [1, 2],
  [4, 0],
  [4, 2],
] as const
const nameOf = (processes: number, roundTripMs: number) =>
  `${processes} process${processes > 1 ? 'es' : ''}, ${roundTripMs} ms added`

export const grants: Question = {
  name: 'grants',
  what: 'Grants per second through the dispatcher and Redis, real waiters, no actor, no call, no limit binding',
  metrics: {
    perSecond: 'grants per second, all processes',
    usOfProcess: 'CPU of the processes, µs a grant',
    usOfRedis: 'CPU of Redis, µs a grant',
    roundTrips: 'round trips a grant',
    voided: 'grants that came too late to be used',
  },
  tasks: { dispatch, bare },
  cases: FLEETS.flatMap(([processes, roundTripMs]) => {
    const name = nameOf(processes, roundTripMs)
    return [
      {
        name: `headgate, ${name}`,
        side: 'headgate' as const,
        run: (bench: Bench) => measure(bench, 'dispatch', processes, roundTripMs),
      },
      {
        name: `bare EVALSHA, ${name}`,
        side: 'limit' as const,
        run: (bench: Bench) => measure(bench, 'bare', processes, roundTripMs),
      },
    ]
  }),
  goals: [
    {
      what: 'one process, 2 ms added round trip: ≥ 20,000 grants/s',
      value: (look) => look(`headgate, ${nameOf(1, 2)}`, 'perSecond'),
      atLeast: 20_000,
    },
    {
      what: 'four processes, no added delay: ≥ 100,000 grants/s',
      value: (look) => look(`headgate, ${nameOf(4, 0)}`, 'perSecond'),
      atLeast: 100_000,
    },
    {
      what: 'four processes, no added delay: ≥ 0.5 of bare pipelined EVALSHA',
      value: (look) =>
        look(`headgate, ${nameOf(4, 0)}`, 'perSecond') / look(`bare EVALSHA, ${nameOf(4, 0)}`, 'perSecond'),
      atLeast: 0.5,
    },
  ],
}
