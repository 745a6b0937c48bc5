import type { PoolConfig } from '../../src/config.js'
import { Dispatcher } from '../../src/dispatch/dispatcher.js'
import type { DispatcherEventNotice } from '../../src/events.js'
import { GateEmitter } from '../../src/events.js'
import { PRIORITY_WEIGHT } from '../../src/intake/input.js'
import { Intake } from '../../src/intake/intake.js'
import type { GroupPlan } from '../../src/limits/plan.js'
import type { RequestSpec } from '../../src/request/entry.js'
import { RequestRunner } from '../../src/request/runner.js'
import { Link, type LinkState } from './link.js'
import { PermitsProbe } from './permits-probe.js'
import type { RequestPlan } from './plan.js'
import { ProcessClock } from './process-clock.js'
import type { Call } from './provider.js'
import { SimStore } from './sim-store.js'
import { simWork } from './sim-work.js'
import type { World } from './world.js'

export const LEASE_MS = 9_000

/** One process: the real dispatcher, request actors and intake, on a clock and a link of its own. */
export class SimProcess {
  readonly name: string
  readonly clock: ProcessClock
  readonly link: Link
  readonly store: SimStore
  readonly dispatcher: Dispatcher
  readonly runner: RequestRunner
  readonly events = new GateEmitter()
  /** Accepted and not done. */
  readonly accepted = new Map<number, RequestPlan>()
  readonly news: DispatcherEventNotice['type'][] = []
  alive = true
  readonly #intakes = new Map<string, Intake>()

  constructor(
    readonly world: World,
    readonly index: number,
    life: number,
    /** Faults of the link outlive a process. */
    linkState: LinkState | undefined,
  ) {
    this.name = `p${index}${'abcdefgh'[life] ?? `+${life}`}`
    const random = world.random.fork(this.name)
    this.clock = new ProcessClock(world.clock, random.fork('clock'))
    this.link = new Link(world.clock, random.fork('link'))
    if (linkState) Object.assign(this.link.state, linkState)
    const { spec } = world.groupPlan
    this.store = new SimStore(spec, this.clock, this.link, world.server, (exchange, reply) =>
      world.watchers.tell('replied', this, exchange, reply),
    )
    this.dispatcher = new Dispatcher({
      spec,
      store: this.store,
      clock: this.clock,
      random: random.fork('dispatcher').next,
      name: this.name,
      slackMs: world.groupPlan.pools.map(({ name }) => world.poolConfig(name).slackMs),
      leaseMs: LEASE_MS,
      isolatedMs: world.plan.isolatedMs,
      holdUntilCallDeadline: world.holds,
      onNews: ({ type, state }) => {
        this.news.push(type)
        world.trace.event(`news${this.name}${type}${state}`, () => `${this.name} dispatcher: ${type} (${state})`)
      },
    })
    this.runner = new RequestRunner({ clock: this.clock, events: this.events, random: random.fork('runner').next })
    for (const pool of world.groupPlan.pools) {
      const { maxQueued, maxActive } = world.poolConfig(pool.name)
      this.#intakes.set(pool.name, new Intake(pool.name, this.clock, maxQueued, maxActive))
    }
    this.dispatcher.start()
  }

  /** A producer comes with a request. */
  submit(request: RequestPlan): void {
    const { world, clock } = this
    const config = world.poolConfig(request.pool)
    const flowKey = `${request.pool}|${request.tenant}|${request.priority}`
    const weight = world.tenantWeight(request.tenant) * PRIORITY_WEIGHT[request.priority]
    const arrivedMs = clock.now()
    const deadlineMs = request.deadlineMs === undefined ? undefined : arrivedMs + request.deadlineMs
    const cancel = request.cancelAfterMs === undefined ? undefined : new AbortController()
    if (cancel) clock.setTimeout(() => cancel.abort(), request.cancelAfterMs!)
    const id = String(request.id)
    const start = () => {
      this.accepted.set(request.id, request)
      world.watchers.tell('accepted', this, request)
      const running = this.runner.start(
        this.#specOf(id, request, config, flowKey, arrivedMs, deadlineMs, cancel?.signal),
      )
      void running.request.outcome.then((outcome) => {
        if (!this.alive) return
        this.accepted.delete(request.id)
        world.trace.event(`done${id}${outcome.status}`, () => `${this.name} #${id} done: ${outcome.status}`)
        world.watchers.tell('done', this, request, outcome)
      })
      return running
    }
    this.#intakes
      .get(request.pool)!
      .enter({ flowKey, weight, deadlineMs, signal: cancel?.signal, waitMs: () => 0, start })
      .catch((error: Error) =>
        world.trace.event(`turned${id}`, () => `${this.name} #${id} turned away: ${error.message}`),
      )
  }

  /** Dies: nothing of it ever runs again. */
  crash(): void {
    this.alive = false
    this.clock.kill()
    this.store.vanish()
    const { world } = this
    world.provider.die(this.name, ({ sentMs, request: { pool } }) =>
      world.holds ? Math.max(0, sentMs + world.poolConfig(pool).callTimeoutMs - world.clock.now()) : 0,
    )
    this.world.watchers.tell('crashed', this)
  }

  get idle(): boolean {
    const { dispatcher, runner, accepted } = this
    return accepted.size === 0 && runner.size === 0 && dispatcher.waiting === 0 && dispatcher.open === 0
  }

  /** What a done process must not hold any more. */
  leftovers(): string[] {
    const left: string[] = []
    const note = (count: number, what: string) => {
      if (count > 0) left.push(`${this.name}: ${count} ${what}`)
    }
    note(this.runner.size, 'requests in the registry')
    note(this.dispatcher.waiting, 'waiters')
    note(this.dispatcher.open, 'open grants')
    for (const [name, intake] of this.#intakes) note(intake.queued + intake.active + intake.atGate, `jobs of ${name}`)
    return left
  }

  #specOf(
    id: string,
    request: RequestPlan,
    config: PoolConfig,
    flowKey: string,
    arrivedMs: number,
    deadlineMs: number | undefined,
    signal: AbortSignal | undefined,
  ): RequestSpec {
    const { world, clock } = this
    const plan = poolOf(world.groupPlan, request.pool)
    const random = world.random.fork(`${this.name}call${id}`)
    const permits = new PermitsProbe(world.permitsOf(this), this, request, world.watchers)
    const write = (its: RequestPlan): Call => world.write(this, its, plan.draws(its.tenant))
    const line = { provider: world.provider, clock, random, process: this.name, nowMs: () => world.clock.now(), write }
    return {
      id,
      pool: {
        ...{ config, plan, limits: world.groupPlan.spec.limits, permits },
        coolDownMs: () => this.dispatcher.outlook.coolDownMs(plan.index),
      },
      tenant: request.tenant,
      flowKey,
      tenantWeight: world.tenantWeight(request.tenant),
      classWeight: PRIORITY_WEIGHT[request.priority],
      draws: plan.draws(request.tenant),
      estimatedTokens: request.tokens,
      work: simWork(line, request),
      stream: undefined,
      model: request.pool,
      arrivedMs,
      deadlineMs,
      signal,
    }
  }
}

function poolOf(plan: GroupPlan, name: string) {
  return plan.pools.find((pool) => pool.name === name)!
}
