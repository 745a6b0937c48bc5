import { type ExchangeReply, MAX_COSTS } from '../limits/store.js'
import { Calendar, type DatedGrant } from './calendar.js'
import type { ClockSync } from './clock-sync.js'
import type { Grant, GrantEnd, Observation, TokenRequest } from './grant.js'
import { hand } from './hand.js'
import { type LocalFlow, serviceOf } from './local-flow.js'
import type { DispatcherOptions } from './options.js'
import type { Batch, Session } from './session.js'
import type { Waiters } from './waiters.js'

/** The store is told of more waiters of a flow when it knows of fewer. */
const TOP_UP = MAX_COSTS / 2

/**
 * Grants from the store's reply to their end. A grant is bound at its date, to a waiter of its flow that it covers; what
 * it covers too much goes back to its bucket before anything is sent, and so does a grant that nobody needs.
 */
export class Grants {
  readonly #calendar: Calendar
  readonly #limits: DispatcherOptions['spec']['limits']
  readonly #followed = new Map<number, number>()
  #order = 0

  constructor(
    private readonly options: DispatcherOptions,
    private readonly session: Session,
    private readonly waiters: Waiters,
    private readonly sync: ClockSync,
    private readonly counters: { granted: number; late: number },
    private readonly ask: () => void,
  ) {
    this.#limits = options.spec.limits
    this.#calendar = new Calendar(options.clock, (dated) => this.#bind(dated), ask)
  }

  /** Grants whose date has not come. */
  get dated(): number {
    return this.#calendar.size
  }

  /** Whether it has more at hand than it can hand on in time. */
  get busy(): boolean {
    return this.#calendar.busy
  }

  /** Takes a reply's grants in; `voided` when its dates can't be trusted. */
  take(batch: Batch, reply: ExchangeReply, voided: boolean): void {
    for (const [key, ...dated] of reply.grants) {
      const flow = this.waiters.flow(key)
      const draws = flow?.draws ?? batch.exchange.flows.find((its) => its.key === key)?.draws ?? []
      for (let i = 0; i < dated.length; i += 2) {
        const [notBeforeMs = 0, tokens = 0] = dated.slice(i, i + 2)
        this.counters.granted++
        this.session.note(draws, tokens, notBeforeMs)
        const { pool } = flow ?? { pool: -1 }
        // The reply may be older than a cool-down that this process has yet to report.
        const stands = flow && !voided && notBeforeMs >= this.session.owed.coolDownOf(pool)
        if (!stands) {
          this.session.giveBack(draws, tokens, true, notBeforeMs)
          if (flow) this.#unserve(pool, flow.tenant, key, serviceOf(flow, tokens))
          this.ask() // Somebody else may be waiting for it.
        } else {
          flow.dated++
          const dueMs = this.sync.localWhen(notBeforeMs)
          this.#calendar.add({ order: this.#order++, flowKey: key, pool, tokens, notBeforeMs, dueMs })
        }
        if (flow) flow.shown = Math.max(0, flow.shown - 1)
      }
      // The store knows of few or none of those who are left.
      if (flow && flow.shown < TOP_UP && flow.waiting - flow.dated > flow.shown) this.waiters.touch(flow)
    }
    for (const [key, limit, max] of reply.refused) this.#refuse(key, limit, max)
    this.waiters.allowHandoffs(reply.handoffs, ({ pool, draws }) => !this.session.owed.holdsBack(pool, draws))
    this.#recallOlder(reply)
    this.#calendar.go()
    if (voided) this.recallAll()
  }

  /** Ends a grant; `urgent` when somebody may be waiting for what it gives back. False if it ended before. */
  settle(grant: Grant, end: GrantEnd, mayHandOff: () => boolean): 'urgent' | 'later' | false {
    const { clock } = this.options
    const nowMs = clock.now()
    const storeMs = this.sync.latest(nowMs)
    if (!this.session.end(grant, end, storeMs)) return false
    const { pool, tenant, flowKey, serviceUs } = grant
    if (end.unsent && this.session.isCharged(grant)) this.#unserve(pool, tenant, flowKey, serviceUs)
    this.#observe(end.observations ?? [], nowMs)
    if (end.coolDownMs) {
      this.#recall(grant.pool, storeMs + end.coolDownMs)
      return 'urgent'
    }
    const tookSlot = grant.draws.some((index) => this.#limits[index]!.windowMs === 0)
    if (!tookSlot) return end.unsent || (end.tokensDelta ?? 0) < 0 ? 'urgent' : 'later'
    if (!end.unsent && !grant.isolated) {
      const more = this.waiters.learnSlot(grant.pool, grant.draws, nowMs - grant.boundAtMs)
      this.session.owed.serve(grant.pool, grant.tenant, grant.flowKey, more)
    }
    if (end.cuts?.length) this.waiters.forbidHandoffs(grant.pool)
    else if (mayHandOff() && this.#handOff(grant)) return 'later'
    return 'urgent'
  }

  /** Takes back whatever was not sent: the process id it was granted to is no more. */
  recallAll(): void {
    for (const { flowKey, tokens, notBeforeMs } of this.#calendar.recall(() => true)) {
      const flow = this.waiters.flow(flowKey)
      if (!flow) continue
      flow.dated--
      this.session.giveBack(flow.draws, tokens, true, notBeforeMs)
    }
    for (const grant of this.session.open) {
      if (grant.state === 'unsent' && !grant.isolated) grant.state = 'void'
    }
  }

  stop(): void {
    this.#calendar.stop()
  }

  /** A cool-down of a generation not known before takes back what was granted for a date before its end. */
  #recallOlder({ coolDowns }: ExchangeReply): void {
    for (const [pool, untilMs] of coolDowns) {
      // By its end: generations are counted anew once a cool-down was over for a while.
      if (untilMs === this.#followed.get(pool)) continue
      this.#followed.set(pool, untilMs)
      this.#recall(pool, untilMs)
      this.options.onCoolDown?.(pool)
    }
  }

  #recall(pool: number, untilMs: number): void {
    this.waiters.forbidHandoffs(pool)
    for (const grant of this.session.open) {
      if (grant.pool === pool && grant.state === 'unsent' && grant.notBeforeMs < untilMs) grant.state = 'void'
    }
    const recalled = this.#calendar.recall((dated) => dated.pool === pool && dated.notBeforeMs < untilMs)
    for (const dated of recalled) this.#return(dated)
  }

  #return({ flowKey, tokens, notBeforeMs }: DatedGrant): void {
    const flow = this.waiters.flow(flowKey)
    if (!flow) return
    flow.dated--
    this.waiters.touch(flow)
    this.session.giveBack(flow.draws, tokens, true, notBeforeMs)
    this.#unserve(flow.pool, flow.tenant, flowKey, serviceOf(flow, tokens))
    this.ask()
  }

  /** What was not served is not charged: else whoever is late would fall behind the others for it. */
  #unserve(pool: number, tenant: string, flowKey: string, serviceUs: number): void {
    this.session.owed.serve(pool, tenant, flowKey, -serviceUs)
  }

  /** True if a request was handed its grant. */
  #bind(dated: DatedGrant): boolean {
    const flow = this.waiters.flow(dated.flowKey)
    if (!flow) return false
    // Too late to be sent it costs a request nothing: else a process that is late would be kept so by what it does for those.
    const isLate = this.sync.latest(this.options.clock.now()) > this.#sendByMs(flow, dated.notBeforeMs)
    if (isLate) this.counters.late++
    // Where no limit counts tokens, the store is not told of them.
    const covers = flow.perToken === 0 ? Number.POSITIVE_INFINITY : dated.tokens
    const request = isLate ? undefined : this.waiters.covered(flow, covers)
    if (!request) {
      this.#return(dated)
      return false
    }
    flow.dated--
    // What it is charged too much goes back to the same bucket before anything is sent.
    if (request.tokens < dated.tokens) {
      this.session.giveBack(flow.draws, dated.tokens - request.tokens, false, dated.notBeforeMs)
      const lessUs = serviceOf(flow, dated.tokens) - serviceOf(flow, request.tokens)
      this.#unserve(flow.pool, flow.tenant, flow.key, lessUs)
      this.ask()
    }
    this.#hand(flow, request, dated.notBeforeMs)
    return true
  }

  /** A freed slot goes to the next in line of this process, as far as the store said that it may; true if it did. */
  #handOff(freed: Grant): boolean {
    const heir = this.waiters.heir(freed.draws)
    const request = heir && this.waiters.covered(heir, Number.POSITIVE_INFINITY)
    if (!request) return false
    heir.handoffs--
    heir.shown = Math.max(0, heir.shown - 1)
    for (const index of freed.draws) this.session.owed.free(index, -1)
    this.session.owed.serve(heir.pool, heir.tenant, heir.key, serviceOf(heir, request.tokens))
    this.#hand(heir, request, Math.ceil(this.sync.latest(this.options.clock.now())))
    return true
  }

  #hand(flow: LocalFlow, request: TokenRequest, notBeforeMs: number): void {
    const { clock, holdUntilCallDeadline } = this.options
    // The store holds its slots beyond the lease only once it knows until when.
    if (holdUntilCallDeadline) this.ask()
    const sendByMs = this.#sendByMs(flow, notBeforeMs)
    hand(this.session, this.waiters, flow, request, { notBeforeMs, sendByMs, isolated: false, boundAtMs: clock.now() })
  }

  #sendByMs({ slotsOnly, pool }: LocalFlow, notBeforeMs: number): number {
    return slotsOnly ? Number.POSITIVE_INFINITY : notBeforeMs + this.options.slackMs[pool]!
  }

  #refuse(key: string, limit: number, max: number): void {
    const { id, dimension } = this.#limits[limit]!
    for (const request of this.waiters.above(key, max, dimension === 'tokens')) {
      this.waiters.remove(request)
      request.onRefused(id, max)
    }
  }

  /** A limit that the provider names is a ceiling; what it says is left only ever tightens. */
  #observe(observations: readonly Observation[], nowMs: number): void {
    for (const { limit, max = 0, remaining, resetMs = 0 } of observations) {
      const { limit: configured } = this.#limits[limit]!
      const known = this.session.known.overrides.find(([index]) => index === limit)?.[1] ?? configured
      const most = max > 0 ? Math.min(max, known) : known
      const untilMs = Math.ceil(this.sync.latest(nowMs) + resetMs)
      const spent = remaining === undefined || resetMs <= 0 ? 0 : most - remaining
      this.session.owed.observe(limit, max, Math.max(0, spent), untilMs)
    }
  }
}
