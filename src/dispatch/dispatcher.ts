import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { type Actor, createActor } from 'xstate'
import { dispatcherMachine } from '../../machines/dispatcher-machine.js'
import type { DispatcherState } from '../../machines/vocabulary.js'
import type { ControlChange, ExchangeReply, GroupSpec, GroupUsage } from '../limits/store.js'
import { Alarm } from './alarm.js'
import { ClockSync } from './clock-sync.js'
import { FairQueue, type Place } from './fair-queue.js'
import type { Grant, GrantEnd, TokenRequest } from './grant.js'
import { Handout } from './handout.js'
import type { DispatcherOptions } from './options.js'
import { selectWaiters } from './selection.js'
import { type Batch, Session } from './session.js'

const RETRY_BASE_MS = 50
const RETRY_CAP_MS = 1_000

/**
 * One process's dispatcher of one group. One exchange with the store is in flight at a time; whatever arrives meanwhile,
 * settlements included, is the next batch. It never polls: it asks when something arrived, at the instant the store
 * computed, when the store wakes it, and to renew its lease while it holds or awaits anything.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #actor: Actor<typeof dispatcherMachine>
  readonly #sync = new ClockSync()
  readonly #session: Session
  readonly #waiting = new FairQueue<TokenRequest>()
  readonly #places = new Map<TokenRequest, Place<TokenRequest>>()
  /** Flows whose first waiter was refused at the last look: more of them need not be shown, nor make us ask. */
  readonly #blockedFlows = new Set<string>()
  readonly #handout: Handout
  readonly #retryAlarm: Alarm
  readonly #leaseAlarm: Alarm
  readonly #reconnectAlarm: Alarm
  readonly #idle = new EventEmitter()
  /** Exchanges sent and grants received, since the start. */
  readonly counters = { roundTrips: 0, granted: 0 }
  /** Resolves when the store has answered for the first time. */
  readonly joined: Promise<void>
  #markJoined: () => void = () => {}
  #batch: Batch<TokenRequest> | undefined
  #busy = false
  #scheduled = false
  #wanted = false
  #failures = 0
  #distrust = false

  constructor(options: DispatcherOptions) {
    this.#options = options
    const { clock } = options
    this.#session = new Session(options, randomUUID().slice(0, 8))
    this.#handout = new Handout(clock)
    this.#retryAlarm = new Alarm(clock, () => this.#ask())
    this.#leaseAlarm = new Alarm(clock, () => this.#ask())
    this.#reconnectAlarm = new Alarm(clock, () => this.#ask())
    this.#idle.setMaxListeners(0)
    this.joined = new Promise((resolve) => {
      this.#markJoined = resolve
    })
    this.#actor = createActor(dispatcherMachine, { clock })
    let told: DispatcherState | undefined
    this.#actor.subscribe({
      next: ({ value: state }) => {
        if (state !== told) options.onNews({ group: this.spec.group, type: 'state', state })
        told = state
      },
      error: () => {},
    })
  }

  get state(): DispatcherState {
    return this.#actor.getSnapshot().value
  }

  get spec(): GroupSpec {
    return this.#options.spec
  }

  /** Whether requests may be granted at all: not while the store is unreachable or learns. */
  get canGrant(): boolean {
    return (this.state === 'synced' || this.state === 'draining') && this.#failures === 0
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** Grants not settled yet. */
  get open(): number {
    return this.#session.open.size
  }

  /** Connects and joins. */
  start(): void {
    this.#actor.start()
    this.#options.store.listen({
      wake: () => this.#ask(),
      up: () => {
        this.#failures = 0
        this.#reconnectAlarm.clear()
        this.#ask()
      },
      down: (cause) => this.#lost(cause),
    })
  }

  /** Waits for a grant; fair between flows, first come first served inside one. */
  request(request: TokenRequest): void {
    const { flowKey, weight, share, order } = request
    const place = this.#waiting.add(flowKey, weight, share, request, order)
    request.order = place.order
    this.#places.set(request, place)
    if (!this.#blockedFlows.has(request.flowKey)) this.#ask()
  }

  /** Stops waiting; no callback comes afterwards. */
  withdraw(request: TokenRequest): void {
    const grant = this.#handout.remove(request)
    if (grant) this.settle(grant, { unsent: true })
    const place = this.#places.get(request)
    if (!place) return
    this.#places.delete(request)
    this.#waiting.remove(place)
    // What it reserved ahead of others is theirs now.
    if (this.#blockedFlows.delete(request.flowKey)) this.#ask()
    this.#announceIdle()
  }

  /**
   * The last look before the socket write: true, once, if the grant is good now; then it counts as sent.
   * Not after `sendBy` by the latest reading of the store's clock. A grant recalled by a cool-down is void already.
   */
  maySend(grant: Grant): boolean {
    if (grant.state !== 'unsent') return false
    const late = this.#sync.latest(this.#options.clock.now()) > grant.sendByMs
    grant.state = late ? 'void' : 'sent'
    return !late
  }

  /** Ends a grant, exactly once; a further call has no effect. */
  settle(grant: Grant, end: GrantEnd): void {
    const storeUntilMs = end.coolDownMs ? Math.ceil(this.#sync.latest(this.#options.clock.now()) + end.coolDownMs) : 0
    if (storeUntilMs > 0) this.#session.recall(grant.pool)
    if (this.#session.end(grant, end, storeUntilMs)) this.#ask()
  }

  /** Resolves when nothing waits and every grant is settled and reported. */
  async idle(): Promise<void> {
    while (!this.#isIdle) await new Promise((resolve) => this.#idle.once('idle', resolve))
  }

  drain(): void {
    this.#actor.send({ type: 'DRAIN' })
  }

  /** Stops asking. What is still unsettled returns with the lease. */
  async stop(): Promise<void> {
    for (const alarm of [this.#retryAlarm, this.#leaseAlarm, this.#reconnectAlarm]) alarm.clear()
    this.#actor.send({ type: 'STOP' })
    this.#idle.emit('idle')
    await this.#options.store.close()
  }

  usage(): Promise<GroupUsage> {
    return this.#options.store.usage()
  }

  control(change: ControlChange): Promise<void> {
    return this.#options.store.control(change)
  }

  get #isIdle(): boolean {
    const { open, ended } = this.#session
    // To a store that does not answer nothing can be reported: it comes back with the lease.
    const reported = this.#failures > 0 || (ended.length === 0 && !this.#batch)
    return this.#stopped || (reported && this.#waiting.size === 0 && open.size === 0)
  }

  get #stopped(): boolean {
    return this.#actor.getSnapshot().status !== 'active'
  }

  #announceIdle(): void {
    if (this.#isIdle) this.#idle.emit('idle')
  }

  /** Wants an exchange soon: at once when none is in flight, after this one otherwise. */
  #ask(): void {
    this.#wanted = true
    if (this.#busy || this.#scheduled || this.#stopped || this.#reconnectAlarm.armed) return
    this.#scheduled = true
    // What else happens in this turn belongs to the same batch.
    queueMicrotask(() => {
      this.#scheduled = false
      if (!this.#busy) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#busy = true
    while (this.#wanted && !this.#stopped) {
      this.#wanted = false
      if (this.#batch && this.#session.abandons(this.#batch, this.#options.clock.now())) {
        this.#distrust ||= this.#batch.exchange.distrust
        this.#batch = undefined
      }
      this.#batch ??= this.#compose()
      try {
        this.counters.roundTrips++
        this.#batch.sends++
        const reply = await this.#options.store.exchange(this.#batch.exchange)
        if (this.#stopped) break
        const batch = this.#batch
        this.#batch = undefined
        this.#failures = 0
        this.#absorb(batch, reply, this.#options.clock.now())
      } catch (error) {
        // The same batch goes again, under the same number: if it was applied, its reply comes from memory.
        this.#lost(error)
        break
      }
    }
    this.#busy = false
    this.#announceIdle()
  }

  #compose(): Batch<TokenRequest> {
    const nowMs = this.#options.clock.now()
    this.#session.refresh(nowMs)
    const places = selectWaiters(this.#waiting, this.#blockedFlows, this.spec.pools.length)
    const distrust = this.#distrust
    this.#distrust = false
    return this.#session.compose(places, this.#sync, nowMs, distrust)
  }

  #lost(cause: unknown): void {
    if (this.#stopped) return
    this.#options.onNews({ group: this.#options.spec.group, type: 'store-error', state: this.state, cause })
    this.#actor.send({ type: 'STORE_LOST' })
    const delayMs = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(10, this.#failures++))
    this.#wanted = true
    this.#reconnectAlarm.set(this.#options.clock.now() + delayMs)
  }

  #absorb(batch: Batch<TokenRequest>, reply: ExchangeReply, receivedMs: number): void {
    const { spec, onNews } = this.#options
    // The reply to a repeated batch may be that of its first sending.
    const trusted = this.#sync.observe(reply.nowMs, batch.firstSentMs, receivedMs)
    const { joined } = this.#session
    this.#session.answered(batch, reply, receivedMs)
    this.#follow(reply)
    // Before anything else: a jump over the lease's end fences this process too.
    if (!trusted) {
      this.#distrust = true
      onNews({ group: spec.group, type: 'clock-distrusted', state: this.state })
    }
    if (reply.fenced && joined) onNews({ group: spec.group, type: 'fenced', state: this.state })
    if (!trusted || reply.fenced) this.#wanted = true
    if (reply.fenced) return
    this.#markJoined()
    const left = this.#hand(batch, reply, trusted)
    const retryAtMs = reply.retryAtMs || reply.learnUntilMs
    if (retryAtMs > 0) this.#retryAlarm.set(this.#sync.localWhen(retryAtMs))
    else this.#retryAlarm.clear()
    this.#renewLease()
    // Served flows may have more waiters than the batch could show, and settlements may have come meanwhile.
    if (this.#session.ended.length > 0 || left) this.#wanted = true
  }

  /** Follows what the reply says of the store in the dispatcher's machine. */
  #follow(reply: ExchangeReply): void {
    if (reply.learnUntilMs > 0) this.#actor.send({ type: 'STATE_LOST' })
    else if (this.state === 'learning') this.#actor.send({ type: 'LEARNED' })
    else this.#actor.send({ type: 'STORE_READY' })
  }

  /** Hands grants and refusals to their waiters; returns whether an unblocked flow has more to show. */
  #hand(batch: Batch<TokenRequest>, reply: ExchangeReply, trusted: boolean): boolean {
    let served = false
    // The reply may be older than a cool-down that this process has yet to report.
    const coolingDown = this.#session.coolDownsOwed()
    for (const { grant: number, buckets } of reply.grants) {
      const place = batch.waiters.get(number)
      if (!place) continue
      batch.waiters.delete(number)
      const grant = this.#session.grant(place.item, number, buckets, reply.nowMs)
      this.counters.granted++
      if (!trusted || coolingDown.has(grant.pool)) grant.state = 'void'
      if (!this.#places.delete(place.item)) this.settle(grant, { unsent: true })
      else {
        this.#waiting.take(place)
        this.#handout.add(place.item, grant)
        served = true
      }
    }
    for (const { grant: number, limit, max } of reply.refused) {
      const place = batch.waiters.get(number)
      batch.waiters.delete(number)
      if (!place || !this.#places.delete(place.item)) continue
      this.#waiting.remove(place)
      place.item.onRefused(this.#options.spec.limits[limit]?.id ?? '', max)
    }
    this.#blockedFlows.clear()
    for (const { queued, flow } of batch.waiters.values()) {
      if (queued) this.#blockedFlows.add(flow.key)
      else this.#wanted = true // Withdrawn meanwhile: what it reserved ahead of others is theirs now.
    }
    this.#handout.go()
    if (!served) return false
    return this.#waiting.peek(1, (key) => (this.#blockedFlows.has(key) ? 0 : 1)).length > 0
  }

  #renewLease(): void {
    const { clock, leaseMs } = this.#options
    if (this.#waiting.size > 0 || this.#session.open.size > 0) this.#leaseAlarm.set(clock.now() + leaseMs / 3)
    else this.#leaseAlarm.clear()
  }
}
