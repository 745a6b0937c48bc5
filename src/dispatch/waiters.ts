import { serviceRates } from '../limits/plan.js'
import type { ExchangeReply, FlowStatement, GroupSpec } from '../limits/store.js'
import { FreshMap } from '../registry.js'
import { FairQueue, firstOf, nextOf } from './fair-queue.js'
import type { TokenRequest } from './grant.js'
import { isUnheard, type LocalFlow, newLocalFlow, serviceOf, stateFlow } from './local-flow.js'

/** Flows one batch may state; the rest is the next batch's. */
const MAX_STATEMENTS = 128
/** How far down its flow a grant looks for a request that it covers. */
const MAX_LOOK = 64
const FIRST_SLOT_MS = 1_000
/** Weight of the newest call in a pool's average time in a slot. */
const SLOT_SHARE = 0.1

/** Who waits in this process, in fair order, and what the store knows of them. */
export class Waiters {
  readonly #queue = new FairQueue<TokenRequest>()
  readonly #flows = new FreshMap<string, LocalFlow>()
  readonly #dirty = new FreshMap<string, LocalFlow>()
  /** How long a call holds its slot, by pool: an average over the last ones. */
  readonly #slotMs: number[]

  constructor(private readonly spec: GroupSpec) {
    this.#slotMs = spec.pools.map(() => FIRST_SLOT_MS)
  }

  get size(): number {
    return this.#queue.size
  }

  get hasNews(): boolean {
    return this.#dirty.size > 0
  }

  /** As `Waiting` says; it looks at every flow. */
  get longestCallMs(): number {
    let longestMs = 0
    for (const { waiting, dated, callTimeoutMs } of this.#flows.values()) {
      if (waiting + dated > 0) longestMs = Math.max(longestMs, callTimeoutMs)
    }
    return longestMs
  }

  flow(key: string): LocalFlow | undefined {
    return this.#flows.get(key)
  }

  /** Adds a request; returns its flow. */
  add(request: TokenRequest): LocalFlow {
    let flow = this.#flows.get(request.flowKey)
    if (!flow) {
      const rates = serviceRates(this.spec.limits, request.draws, this.#slotMs[request.pool] ?? FIRST_SLOT_MS)
      flow = newLocalFlow(request, this.spec.limits, rates)
      this.#flows.set(flow.key, flow)
    }
    const service = serviceOf(flow, request.tokens)
    this.#queue.add(flow.key, request.tenantWeight * request.classWeight, service, request)
    flow.first = request.line && firstOf(request.line)
    flow.waiting++
    flow.load += service
    this.touch(flow)
    return flow
  }

  /** Takes a request out that waits no longer; `served` if its flow pays for it. False if it did not wait. */
  remove(request: TokenRequest, served = false): boolean {
    const { line } = request
    if (!line) return false
    if (served) this.#queue.take(request)
    else this.#queue.remove(request)
    const flow = this.#flows.get(line.key)!
    flow.first = firstOf(line)
    flow.waiting--
    flow.load = Math.max(0, flow.load - request.cost)
    this.touch(flow)
    return true
  }

  touch(flow: LocalFlow): void {
    if (flow.dirty) return
    flow.dirty = true
    this.#dirty.set(flow.key, flow)
  }

  /** The first request of a flow that a grant of `tokens` covers: the one it was meant for, unless that left. */
  covered(flow: LocalFlow, tokens: number): TokenRequest | undefined {
    let left = MAX_LOOK
    for (let waiting = flow.first; waiting && left-- > 0; waiting = nextOf(waiting)) {
      if (flow.perToken === 0 || waiting.tokens <= tokens) return waiting
    }
    return undefined
  }

  /** The next requests in fair order, flow by flow. */
  next(max: number): TokenRequest[] {
    return this.#queue.peek(max, () => max)
  }

  /** Requests of a flow that cost more than `max` LLM tokens. */
  above(key: string, max: number, tokenLimit: boolean): TokenRequest[] {
    const above: TokenRequest[] = []
    for (let waiting = this.#flows.get(key)?.first; waiting; waiting = nextOf(waiting)) {
      if ((tokenLimit ? waiting.tokens : 1) > max) above.push(waiting)
    }
    return above
  }

  /** What the store has not heard yet, as many flows as a batch takes. */
  statements(storeTimeOf: (localMs: number) => number): FlowStatement[] {
    const statements: FlowStatement[] = []
    for (const flow of this.#dirty.values()) {
      if (statements.length === MAX_STATEMENTS) break
      this.#dirty.delete(flow.key)
      const { base } = serviceRates(this.spec.limits, flow.draws, this.#slotMs[flow.pool] ?? FIRST_SLOT_MS)
      if (base !== flow.base) this.#rebase(flow, base)
      statements.push(stateFlow(flow, storeTimeOf))
      if (flow.waiting === 0 && flow.dated === 0) this.#flows.delete(flow.key)
    }
    return statements
  }

  /** States everything again: the store forgot it. */
  restate(): void {
    for (const flow of this.#flows.values()) {
      flow.shown = 0
      flow.handoffs = 0
      this.touch(flow)
    }
  }

  /** Whether any flow waits unheard, or was served all that the store knew of it. */
  get isUnheard(): boolean {
    for (const flow of this.#flows.values()) if (isUnheard(flow)) return true
    return false
  }

  /** Takes in how many freed slots each flow may take over, if it may. */
  allowHandoffs(handoffs: ExchangeReply['handoffs'], may: (flow: LocalFlow) => boolean = () => true): void {
    for (const flow of this.#flows.values()) flow.handoffs = 0
    for (const [key, count] of handoffs) {
      const flow = this.#flows.get(key)
      if (flow && may(flow)) flow.handoffs = count
    }
  }

  forbidHandoffs(pool: number): void {
    for (const flow of this.#flows.values()) if (flow.pool === pool) flow.handoffs = 0
  }

  /** A flow that may take over a slot of these limits, which is freed at this moment. */
  heir(draws: readonly number[]): LocalFlow | undefined {
    for (const flow of this.#flows.values()) {
      if (flow.handoffs > 0 && flow.slotsOnly && flow.waiting > flow.dated && sameLimits(flow.draws, draws)) return flow
    }
    return undefined
  }

  /** A call held its slot for so long; returns the service that it took more than was charged for it, µs. */
  learnSlot(pool: number, draws: readonly number[], slotMs: number): number {
    const estimateMs = this.#slotMs[pool] ?? FIRST_SLOT_MS
    this.#slotMs[pool] = estimateMs + SLOT_SHARE * (slotMs - estimateMs)
    const { limits } = this.spec
    return serviceRates(limits, draws, slotMs).base - serviceRates(limits, draws, estimateMs).base
  }

  /** Service that all of this process wait for in a pool, and of it those of one flow, µs. */
  loadOf(pool: number, key: string): { readonly all: number; readonly flow: number; readonly flows: number } {
    let all = 0
    let flows = 0
    for (const flow of this.#flows.values()) {
      if (flow.pool !== pool || flow.waiting === 0) continue
      all += flow.load
      flows++
    }
    return { all, flow: this.#flows.get(key)?.load ?? 0, flows }
  }

  #rebase(flow: LocalFlow, base: number): void {
    flow.base = base
    flow.load = 0
    for (let waiting = flow.first; waiting; waiting = nextOf(waiting)) {
      waiting.cost = serviceOf(flow, waiting.tokens)
      flow.load += waiting.cost
    }
  }
}

function sameLimits(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((index, i) => index === b[i]))
}
