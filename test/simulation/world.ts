import { type PoolConfig, type ResolvedConfig, resolveConfig } from '../../src/config.js'
import type { Permits } from '../../src/dispatch/shadow.js'
import { type GroupPlan, planGroups } from '../../src/limits/plan.js'
import { type Exchange, type ExchangeReply, type GroupUsage, NO_NEWS } from '../../src/limits/store.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'
import { begin, end } from './faults.js'
import type { FaultPlan, RequestPlan, SimPlan } from './plan.js'
import { endOf } from './plan.js'
import { type Call, ProviderModel } from './provider.js'
import { Random } from './random.js'
import { settle, turn } from './settle.js'
import { LEASE_MS, SimProcess } from './sim-process.js'
import type { StoreServer } from './sim-store.js'
import { MemoryBackend, type StoreBackend } from './store-host.js'
import { Trace } from './trace.js'
import type { NewChecker } from './watch.js'
import { Watchers } from './watchers.js'

/** What a mutation may break, and where the store is. */
export interface WorldOptions {
  readonly plan: SimPlan
  readonly checkers: readonly NewChecker[]
  readonly keepTrace?: boolean
  readonly backend?: (world: World) => StoreBackend
  readonly permits?: (process: SimProcess) => Permits
  /** Changes what a process says before the store hears it. */
  readonly tamper?: (exchange: Exchange) => Exchange
}

const START_MS = 1_000_000
/** What the store's clock reads at the start, beyond the true time. */
const STORE_START_MS = 1_700_000_000_000
const SAMPLE_MS = 100
const REPEAT_MS = 5_000
const EVENT_LOOP_EVERY = 5_000
/** Ten times what the busiest plan takes: more is somebody going round in circles. */
const MAX_STEPS = 400_000

/** Several processes, the network between them and their store, and the provider, on one virtual clock. */
export class World {
  readonly clock = new VirtualClock({ startMs: START_MS, maxTimersPerAdvance: 1 })
  readonly trace: Trace
  readonly watchers: Watchers
  readonly random: Random
  readonly config: ResolvedConfig
  readonly groupPlan: GroupPlan
  readonly holds: boolean
  readonly provider: ProviderModel
  readonly backend: StoreBackend
  readonly processes: SimProcess[] = []
  readonly plan: SimPlan
  readonly lives: number[] = []
  /** Faults that are on. */
  readonly faults = new Set<FaultPlan>()
  /** The store's clock, beyond the true time; steps move it. */
  storeAheadMs = STORE_START_MS - START_MS
  /** True time of the last fault's end so far. */
  troubledMs = START_MS
  readonly #permits = new Map<SimProcess, Permits>()
  #blocking: Promise<void> | undefined
  #left: number
  #steps = 0

  constructor(readonly options: WorldOptions) {
    const { plan, checkers, keepTrace = false } = options
    this.plan = plan
    this.random = new Random(plan.seed)
    this.trace = new Trace(() => this.sinceStartMs, keepTrace)
    this.watchers = new Watchers(() => this.sinceStartMs, this.trace)
    this.config = resolveConfig(plan.config)
    const [groupPlan, ...others] = planGroups(this.config)
    if (!groupPlan || others.length > 0) throw new Error('the simulation takes pools of one group')
    this.groupPlan = groupPlan
    const { limits } = groupPlan.spec
    const pools = [...this.config.pools.values()]
    this.holds = pools.some(({ holdUntilCallDeadline }) => holdUntilCallDeadline)
    const guardMs = Math.min(...pools.map((pool) => pool.guardMs))
    this.provider = new ProviderModel(this.clock, this.random.fork('provider'), limits, guardMs, {
      arrived: (call, refused) => {
        const { id } = call.request
        this.trace.event(
          `arrived${id}`,
          () => `provider: #${id} of ${call.process} arrived${refused ? ', refused' : ''}`,
        )
        this.watchers.tell('arrived', call, refused)
      },
      over: (call) => this.watchers.tell('over', call),
      counted: (call, delta) => this.watchers.tell('counted', call, delta),
    })
    this.backend =
      options.backend?.(this) ??
      new MemoryBackend(
        this.clock,
        plan.faults.some(({ kind }) => kind === 'failover'),
      )
    this.watchers.use(checkers.map((create) => create(this)))
    this.#left = plan.requests.length
  }

  get sinceStartMs(): number {
    return this.clock.now() - START_MS
  }

  /** The store's own reading, not yet made non-decreasing. */
  get storeMs(): number {
    return this.clock.now() + this.storeAheadMs
  }

  get calm(): boolean {
    return this.faults.size === 0
  }

  poolConfig(name: string): PoolConfig {
    return this.config.pools.get(name)!
  }

  tenantWeight(tenant: string): number {
    return this.config.tenants.get(tenant)?.weight ?? 1
  }

  permitsOf(process: SimProcess): Permits {
    let permits = this.#permits.get(process)
    if (!permits) {
      permits = this.options.permits?.(process) ?? process.dispatcher
      this.#permits.set(process, permits)
    }
    return permits
  }

  process(index: number): SimProcess | undefined {
    return this.processes[index]?.alive ? this.processes[index] : undefined
  }

  get server(): StoreServer {
    return {
      apply: (spec, said, answer) => {
        const exchange = this.options.tamper?.(said) ?? said
        const reply = this.backend.exchange(spec, exchange, this.storeMs)
        const take = (its: ExchangeReply) => {
          const { processId, seq } = exchange
          this.trace.event(`x${processId}:${seq}@${its.version}`, () => describe(exchange, its))
          this.watchers.tell('applied', exchange, its)
          answer(its)
        }
        if ('then' in reply) this.block(reply.then(take))
        else take(reply)
      },
      control: (change) => {
        this.watchers.tell('controlled', change)
        this.block(this.backend.control(change, this.storeMs))
      },
      listen: (processId, wake) => this.backend.listen(processId, wake),
      unlisten: (processId) => this.backend.unlisten(processId),
    }
  }

  /** Time stands still until a real reply is there. */
  block(real: Promise<void> | void): void {
    if (real) this.#blocking = Promise.all([this.#blocking, real]).then(() => {})
  }

  usage(): GroupUsage | Promise<GroupUsage> {
    return this.backend.usage(this.groupPlan.spec, this.storeMs)
  }

  write(process: SimProcess, request: RequestPlan, draws: readonly number[]): Call {
    const call: Call = {
      request,
      process: process.name,
      draws,
      sentMs: this.clock.now(),
      arrivedMs: Number.NaN,
      overMs: Number.NaN,
      answer: undefined,
    }
    this.trace.event(`sent${request.id}`, () => `${process.name} #${request.id} sent`)
    this.watchers.tell('sent', process, call)
    return call
  }

  startProcess(index: number): void {
    const life = this.lives[index] ?? 0
    this.lives[index] = life + 1
    this.processes[index] = new SimProcess(this, index, life, this.processes[index]?.link.state)
  }

  /** Somebody comes and goes, so that the store looks at what has expired. */
  async look(): Promise<void> {
    const exchange: Exchange = {
      ...NO_NEWS,
      flows: [],
      held: [],
      floors: [],
      processId: 'visitor.1',
      seq: 1,
      leaseMs: 1_000,
      isolatedMs: 0,
      holdUntilMs: 0,
      knownEpoch: '',
      knownVersion: 0,
      candidateEpoch: 'visitor',
      distrust: false,
      journal: null,
      leave: true,
    }
    await this.backend.exchange(this.groupPlan.spec, exchange, this.storeMs)
  }

  /** Runs the whole plan; ends at rest, or when it should long have come to rest. */
  async run(limitMs: number): Promise<void> {
    const { plan, clock } = this
    await this.backend.start?.()
    for (let index = 0; index < plan.processes; index++) {
      clock.setTimeout(() => this.startProcess(index), index * 3)
    }
    for (const request of plan.requests) clock.setTimeout(() => this.#submit(request), request.atMs)
    for (const fault of plan.faults) this.#schedule(fault)
    // A lost tail may hold an operator's word that nobody heard of: whoever said it sees that, and says it again.
    for (const fault of plan.faults) {
      if (fault.kind.startsWith('operator')) clock.setTimeout(() => end(this, fault), plan.healMs + REPEAT_MS)
    }
    const sample = () => {
      this.watchers.tell('sample')
      clock.setTimeout(sample, SAMPLE_MS)
    }
    clock.setTimeout(sample, SAMPLE_MS)
    await this.#until(() => this.sinceStartMs >= plan.healMs && this.isDone, limitMs)
    if (!this.isDone) this.#reportStuck()
    const longestMs = Math.max(...this.groupPlan.spec.limits.map(({ windowMs, holdMs }) => windowMs + holdMs))
    // What was set aside for one that is gone counts as spent until a window after its end.
    const asideMs = plan.isolatedMs > 0 ? LEASE_MS + plan.isolatedMs : 0
    // Who was gone while something waited there may have begun a call up to its lease's end.
    const heldMs = this.holds
      ? LEASE_MS + Math.max(...[...this.config.pools.values()].map((pool) => pool.callTimeoutMs))
      : 0
    const restMs = longestMs + 12_000 + Math.max(asideMs, heldMs)
    await this.#until(() => false, this.sinceStartMs + restMs)
    await this.watchers.atRest()
  }

  async #until(over: () => boolean, limitMs: number): Promise<void> {
    while (!over() && this.sinceStartMs < limitMs) {
      if (!this.clock.runNext()) break
      await settle()
      while (this.#blocking) {
        const blocking = this.#blocking
        this.#blocking = undefined
        await blocking
        await settle()
      }
      if (++this.#steps % EVENT_LOOP_EVERY === 0) await turn()
      if (this.#steps > MAX_STEPS) throw new Error(`still busy after ${MAX_STEPS} timers, at ${this.sinceStartMs} ms`)
    }
  }

  get isDone(): boolean {
    return this.#left === 0 && this.processes.every((process) => !process.alive || process.idle)
  }

  #reportStuck(): void {
    const stuck = this.processes.flatMap((process) => (process.alive ? process.leftovers() : []))
    const checker = { invariant: 10, name: 'after healing everything gets through' }
    this.watchers.violate(
      `not done ${Math.round(this.sinceStartMs - this.plan.healMs)} ms after healing: ${stuck}`,
      checker,
    )
  }

  #submit(request: RequestPlan): void {
    this.#left--
    const process = this.process(request.process)
    if (process && !process.clock.paused) process.submit(request)
    // Nobody listens: the producer is told, and the request was never accepted.
    else this.trace.event(`lost${request.id}`)
  }

  #schedule(fault: FaultPlan): void {
    const { clock } = this
    clock.setTimeout(() => {
      this.faults.add(fault)
      this.trace.event(`fault${fault.kind}`, () => `FAULT ${JSON.stringify(fault)}`)
      begin(this, fault)
      this.watchers.tell('fault', fault, true)
    }, fault.atMs)
    clock.setTimeout(() => {
      this.faults.delete(fault)
      this.troubledMs = clock.now()
      end(this, fault)
      this.watchers.tell('fault', fault, false)
      this.trace.event(`over${fault.kind}`, () => `FAULT over: ${fault.kind}`)
    }, endOf(fault))
  }
}

function describe({ processId, seq, flows, freed, adjustments }: Exchange, reply: ExchangeReply): string {
  const asks = flows.map(({ key, count }) => `${key}×${count}`).join(' ')
  const gets = reply.grants.map(([key, ...dated]) => `${key}×${dated.length / 2}`).join(' ')
  const news = [freed.length > 0 && `frees ${JSON.stringify(freed)}`, adjustments.length > 0 && 'corrects']
  const state = reply.fenced ? ' FENCED' : reply.learnUntilMs > 0 ? ' learning' : ''
  return `store: ${processId}:${seq} asks [${asks}] gets [${gets}]${state} ${news.filter(Boolean).join(' ')}`
}
