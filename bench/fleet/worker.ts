import { performance } from 'node:perf_hooks'
import { realClock } from '../../src/clock.js'
import { resolveConfig, SLACK_MS } from '../../src/config.js'
import { Dispatcher } from '../../src/dispatch/dispatcher.js'
import type { Grant } from '../../src/dispatch/grant.js'
import type { Permits } from '../../src/dispatch/shadow.js'
import { GateEmitter } from '../../src/events.js'
import { planGroups } from '../../src/limits/plan.js'
import { RedisConnection, RedisStore } from '../../src/limits/redis-store.js'
import { RequestRunner } from '../../src/request/runner.js'
import type { Work } from '../../src/request/work.js'
import { seededRandom } from '../../src/testing/simulator/random.js'
import type { Job, Load, Result, Sent } from './protocol.js'

const POOL = 'bench'
const LEASE_MS = 9_000

const wallMs = () => performance.timeOrigin + performance.now()

/** One process of the fleet: real dispatcher, real request actors, real Redis; the call is a wait of `callMs`. */
async function run(job: Job): Promise<Result> {
  const tenants = Object.fromEntries(job.loads.map(({ tenant, weight }) => [tenant, { weight }]))
  const pools = { [POOL]: { ...job.pool, provider: 'openai-compatible', baseURL: 'http://127.0.0.1:9' } }
  const config = resolveConfig({ redis: job.redis, namespace: job.namespace, pools, tenants })
  const [plan] = planGroups(config)
  if (!plan) throw new Error('the config has no pool')
  const connection = new RedisConnection(job.redis)
  const dispatcher = new Dispatcher({
    spec: plan.spec,
    store: new RedisStore(plan.spec, connection),
    clock: realClock,
    random: Math.random,
    name: job.name,
    slackMs: [SLACK_MS],
    leaseMs: LEASE_MS,
    isolatedMs: 0,
    holdUntilCallDeadline: false,
    putOff: setImmediate,
    onNews: ({ type, cause }) => {
      if (type !== 'state') process.stderr.write(`${job.name}: ${type} ${String(cause ?? '')}\n`)
    },
  })
  const bench = new Bench(job, dispatcher)
  dispatcher.start()
  await dispatcher.joined
  await until(job.startAtMs)
  const { roundTrips, late } = dispatcher.counters
  const cpu = process.cpuUsage()
  bench.start(config.pools.get(POOL)!, plan.pools[0]!, plan.spec.limits)
  await until(job.stopAtMs)
  const { user, system } = process.cpuUsage(cpu)
  const result = {
    sent: bench.sent,
    voided: bench.voided,
    late: dispatcher.counters.late - late,
    roundTrips: dispatcher.counters.roundTrips - roundTrips,
    cpuMs: (user + system) / 1000,
  }
  bench.stop()
  await dispatcher.stop()
  connection.close()
  return result
}

class Bench implements Permits {
  readonly sent: Sent[] = []
  voided = 0
  readonly #runner = new RequestRunner({ clock: realClock, events: new GateEmitter(), random: Math.random })
  readonly #random: () => number
  #grant: Grant | undefined
  #stopped = false
  #count = 0

  constructor(
    private readonly job: Job,
    private readonly dispatcher: Dispatcher,
  ) {
    this.#random = seededRandom(job.seed)
  }

  start(
    config: Parameters<Bench['spawn']>[1],
    plan: Parameters<Bench['spawn']>[2],
    limits: Parameters<Bench['spawn']>[3],
  ) {
    const { loads, rampMs } = this.job
    for (const load of loads) {
      for (let i = 0; i < load.outstanding; i++) {
        const begin = () => this.spawn(load, config, plan, limits)
        if (rampMs === 0) begin()
        else setTimeout(begin, (rampMs * i) / load.outstanding)
      }
    }
  }

  /** After one that ended: not before the first have all come, for else the limit would be spent at once, and ever after. */
  #spawnNext(spawn: () => void): void {
    const { startAtMs, rampMs } = this.job
    const leftMs = startAtMs + rampMs - wallMs()
    if (rampMs > 0 && leftMs > 0) setTimeout(spawn, leftMs)
    else queueMicrotask(spawn)
  }

  stop(): void {
    this.#stopped = true
    this.#runner.cancelAll()
  }

  spawn(
    load: Load,
    config: import('../../src/config.js').PoolConfig,
    plan: import('../../src/limits/plan.js').PoolPlan,
    limits: readonly import('../../src/limits/store.js').LimitSpec[],
  ): void {
    const { tokens: range, callMs } = this.job
    const tokens = range[0] + Math.floor(this.#random() * (range[1] - range[0] + 1))
    const { tenant, weight } = load
    const running = this.#runner.start({
      id: `${this.job.name}-${++this.#count}`,
      pool: { config, plan, limits, permits: this, coolDownMs: () => 0 },
      tenant,
      flowKey: tenant,
      tenantWeight: weight,
      classWeight: 2,
      draws: plan.draws(tenant),
      estimatedTokens: tokens,
      work: this.#work(tenant, tokens, callMs),
      stream: undefined,
      model: POOL,
      arrivedMs: realClock.now(),
      deadlineMs: undefined,
      signal: undefined,
    })
    running.listening = {
      ended: () => {
        if (!this.#stopped) this.#spawnNext(() => this.spawn(load, config, plan, limits))
      },
    }
    running.admit()
  }

  request(request: Parameters<Permits['request']>[0]): void {
    const onGrant = request.onGrant.bind(request)
    // The same object: the dispatcher writes the place in line into it.
    Object.assign(request, {
      onGrant: (grant: Grant) => {
        this.#grant = grant
        onGrant(grant)
      },
    })
    this.dispatcher.request(request)
  }

  withdraw: Permits['withdraw'] = (request) => this.dispatcher.withdraw(request)
  maySend: Permits['maySend'] = (grant) => this.dispatcher.maySend(grant)
  settle: Permits['settle'] = (grant, end) => this.dispatcher.settle(grant, end)

  #work(tenant: string, tokens: number, callMs: number): Work {
    return {
      answersInWords: false,
      call: (context) => {
        const { signal } = context.cut
        const grant = this.#grant
        const atMs = wallMs()
        if (!grant || !context.maySend()) {
          this.voided++
          return Promise.resolve({ type: 'unsent' })
        }
        const startedMs = performance.now()
        const end = { type: 'completed', value: undefined, usage: undefined } as const
        const note = () => {
          const tookMs = performance.now() - startedMs
          this.sent.push([atMs, tokens, tenant, atMs - grant.notBeforeMs, tookMs])
          return end
        }
        if (callMs === 0) return Promise.resolve(note())
        return new Promise((resolve) => {
          const timer = setTimeout(() => resolve(note()), callMs)
          signal.addEventListener('abort', () => {
            clearTimeout(timer)
            resolve(end)
          })
        })
      },
    }
  }
}

function until(atMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, atMs - wallMs())))
}

process.on('message', (job: Job) => {
  run(job).then(
    (result) => process.send?.(result, () => process.exit(0)),
    (error) => {
      process.stderr.write(`${String(error?.stack ?? error)}\n`)
      process.exit(1)
    },
  )
})
