import { EventEmitter } from 'node:events'
import { type Actor, createActor } from 'xstate'
import { dispatcherMachine } from '../../machines/dispatcher-machine.js'
import type { DispatcherState } from '../../machines/vocabulary.js'
import type { ControlChange, ExchangeReply, GroupSpec, GroupUsage } from '../limits/store.js'
import { Alarms } from './alarms.js'
import { ClockSync, courseOf } from './clock-sync.js'
import { Outlook } from './outlook.js'
import type { Grant, GrantEnd, TokenRequest } from './grant.js'
import { Grants } from './grants.js'
import { Isolation } from './isolation.js'
import { isUnheard } from './local-flow.js'
import type { DispatcherOptions } from './options.js'
import { type Batch, type Known, Session } from './session.js'
import { Waiters } from './waiters.js'

/**
 * One process's dispatcher of one group. One exchange with the store is in flight at a time; whatever arrives meanwhile,
 * settlements included, is the next batch. It never polls: it asks when something arrived, when the store computed that a
 * date comes near, when the store wakes it, and to renew its lease while it holds or awaits anything.
 */
export class Dispatcher {
  readonly #options: DispatcherOptions
  readonly #actor: Actor<typeof dispatcherMachine>
  readonly #sync = new ClockSync()
  readonly #session: Session
  readonly #waiters: Waiters
  readonly #grants: Grants
  readonly #isolation: Isolation
  readonly #alarms: Alarms
  readonly #idle = new EventEmitter()
  /** What is known of waits. */
  readonly outlook: Outlook
  /** Exchanges sent, grants received, and those of them that came too late for any request; since the start. */
  readonly counters = { roundTrips: 0, granted: 0, late: 0 }
  /** Resolves when the store has answered for the first time. */
  readonly joined: Promise<void>
  #markJoined: () => void = () => {}
  #batch: Batch | undefined
  #busy = false
  #scheduled = false
  #wanted = false
  #failures = 0
  #distrust = false
  #leaving = false

  constructor(options: DispatcherOptions) {
    this.#options = options
    const { clock, spec } = options
    this.#session = new Session(options, options.name)
    this.#waiters = new Waiters(spec)
    this.#grants = new Grants(options, this.#session, this.#waiters, this.#sync, this.counters, () => this.#ask())
    this.outlook = new Outlook(options, this.#session.known, this.#waiters, this.#sync)
    this.#isolation = new Isolation(options, this.#session, this.#waiters, this.#sync)
    this.#alarms = new Alarms(options, this.#sync, () => this.#ask())
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

  /** What the store last said of the group. */
  get known(): Known {
    return this.#session.known
  }

  /** Whether requests may be granted at all: not while the store is unreachable (unless from a floor) or learns. */
  get canGrant(): boolean {
    if (this.#isolation.serves) return true
    return (this.state === 'synced' || this.state === 'draining') && this.#failures === 0
  }

  get waiting(): number {
    return this.#waiters.size
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
        this.#alarms.reconnected()
        this.#ask()
      },
      down: (cause) => this.#lost(cause),
    })
  }

  /** Waits for a grant; fair between flows, first come first served inside one. */
  request(request: TokenRequest): void {
    const flow = this.#waiters.add(request)
    this.#isolation.serve()
    if (isUnheard(flow)) this.#ask()
    else this.#gather()
  }

  /** Stops waiting; no callback comes afterwards. */
  withdraw(request: TokenRequest): void {
    if (!this.#waiters.remove(request)) return
    // What it reserved ahead of others is theirs now.
    this.#gather()
    if (this.#isIdle) this.#idle.emit('idle')
  }

  /**
   * The last look before the socket write: true, once, if the grant is good now; then it counts as sent. Not after
   * `sendBy` by the latest reading of the store's clock, nor when this process may have been given up.
   */
  maySend(grant: Grant): boolean {
    if (grant.state !== 'unsent') return false
    const nowMs = this.#options.clock.now()
    const late = grant.isolated
      ? nowMs > grant.sendByMs
      : this.#session.isLeaseOver(nowMs) || this.#sync.latest(nowMs) > grant.sendByMs
    grant.state = late ? 'void' : 'sent'
    return !late
  }

  /** Ends a grant, exactly once; a further call has no effect. A slot it frees may go straight to the next in line. */
  settle(grant: Grant, end: GrantEnd): void {
    const settled = this.#grants.settle(grant, end, this.#mayHandOff)
    if (!settled) return
    this.#isolation.ended(grant, end)
    // A cool-down is news for the whole fleet.
    if (settled === 'urgent') this.#ask(end.coolDownMs ? queueMicrotask : undefined)
    else this.#gather()
  }

  /** Resolves when nothing waits and every grant is settled and reported. */
  async idle(): Promise<void> {
    while (!this.#isIdle) await new Promise((resolve) => this.#idle.once('idle', resolve))
  }

  drain(): void {
    this.#actor.send({ type: 'DRAIN' })
  }

  /** Leaves the group, as far as the store answers, and stops. What is still unsettled returns with the lease. */
  async stop(): Promise<void> {
    if (this.#isIdle && this.#session.joined && this.#failures === 0 && !this.#stopped) {
      this.#leaving = true
      this.#ask()
      await new Promise<void>((resolve) => this.#idle.once('left', resolve))
    }
    this.#alarms.clear()
    this.#grants.stop()
    this.#isolation.stop()
    this.#actor.send({ type: 'STOP' })
    this.#idle.emit('idle')
    await this.#options.store.close()
  }

  usage(): Promise<GroupUsage> {
    return this.#options.store.usage()
  }

  async control(change: ControlChange): Promise<void> {
    await this.#options.store.control(change)
    this.#session.words.said(change, this.#options.clock.now())
  }

  readonly #mayHandOff = (): boolean =>
    this.canGrant && !this.#isolation.active && !this.#session.isLeaseOver(this.#options.clock.now())

  get #isIdle(): boolean {
    const { open, owed } = this.#session
    // To a store that does not answer nothing can be reported: it comes back with the lease.
    const reported = this.#failures > 0 || (owed.isEmpty && !this.#waiters.hasNews && !this.#batch)
    return this.#stopped || (reported && this.#waiters.size === 0 && open.size === 0 && this.#grants.dated === 0)
  }

  get #stopped(): boolean {
    return this.#actor.getSnapshot().status !== 'active'
  }

  /** Wants an exchange before long. */
  #gather(): void {
    if (!this.#wanted) this.#alarms.gather()
  }

  /** Wants an exchange soon: at once when none is in flight, after this one otherwise. */
  #ask(putOff = this.#options.putOff ?? queueMicrotask): void {
    this.#wanted = true
    if (this.#busy || this.#scheduled || this.#stopped || this.#alarms.reconnecting || this.#grants.busy) return
    this.#scheduled = true
    putOff(() => {
      this.#scheduled = false
      if (!this.#busy) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#busy = true
    while (this.#wanted && !this.#stopped && !this.#grants.busy) {
      this.#wanted = false
      this.#alarms.gathered()
      this.#batch = this.#nextBatch()
      try {
        this.counters.roundTrips++
        this.#batch.sends++
        this.#isolation.sent(this.#batch)
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
    if (this.#leaving && (this.#failures > 0 || !this.#wanted)) this.#idle.emit('left')
    if (this.#isIdle) this.#idle.emit('idle')
  }

  #nextBatch(): Batch {
    const nowMs = this.#options.clock.now()
    if (this.#isolation.knocks(nowMs)) return this.#session.knock(this.#batch, nowMs)
    if (this.#batch && this.#session.abandons(this.#batch, nowMs)) {
      this.#distrust ||= this.#batch.exchange.distrust
      this.#forget()
    } else if (this.#batch) {
      // What came since it was first sent is the next batch's.
      this.#wanted = !this.#session.owed.isEmpty || this.#waiters.hasNews
      return this.#batch
    }
    if (this.#session.refresh(nowMs)) this.#forget()
    const statements = this.#waiters.statements((localMs) => this.#sync.since(localMs))
    if (this.#waiters.hasNews) this.#wanted = true
    const distrust = this.#distrust
    this.#distrust = false
    return this.#session.compose(statements, this.#waiters, this.#sync, nowMs, distrust, this.#leaving)
  }

  /** Under a new process id nothing stands that the former was granted and has not sent. */
  #forget(): void {
    this.#grants.recallAll()
    this.#waiters.restate()
  }

  #lost(cause: unknown): void {
    if (this.#stopped) return
    const { onNews, spec } = this.#options
    onNews({ group: spec.group, type: 'store-error', state: this.state, cause })
    this.#actor.send({ type: 'STORE_LOST' })
    this.#wanted = true
    this.#alarms.reconnect(this.#failures++)
    if (this.#session.joined) this.#isolation.begin()
  }

  #absorb(batch: Batch, reply: ExchangeReply, receivedMs: number): void {
    const { spec, onNews } = this.#options
    const { joined } = this.#session
    this.#isolation.end()
    if (batch.exchange.seq === 0 && !reply.fenced) {
      // A knock, and the lease is alive: the reply is an old one. What was sent last may be applied: a new id leaves no doubt.
      this.#session.rejoin()
      this.#forget()
      this.#wanted = true
      return
    }
    // The reply to a repeated batch may be that of its first sending.
    const aheadMs = this.#sync.observe(reply.readMs, batch.firstSentMs, receivedMs, courseOf(reply))
    // Before anything else: by this clock the journal would be out of date, and a jump over the lease's end fences too.
    if (aheadMs > 0) {
      this.#distrust = true
      this.#session.journal.shift(aheadMs)
      onNews({ group: spec.group, type: 'clock-distrusted', state: this.state })
    }
    this.#session.answered(batch, reply, Math.ceil(aheadMs))
    this.#follow(reply)
    if (reply.fenced) {
      if (joined) onNews({ group: spec.group, type: 'fenced', state: this.state })
      this.#forget()
      this.#wanted = true
      return
    }
    this.#markJoined()
    this.#grants.take(batch, reply, aheadMs > 0)
    this.#session.words.differ((its) => onNews({ group: spec.group, state: this.state, ...its }))
    if (reply.restate) this.#waiters.restate()
    this.#alarms.follow(reply, this.#waiters.size > 0, this.#session.open.size > 0 || this.#grants.dated > 0)
    if (aheadMs > 0 || this.#waiters.isUnheard) this.#wanted = true
  }

  /** Follows what the reply says of the store in the dispatcher's machine. */
  #follow(reply: ExchangeReply): void {
    if (reply.learnUntilMs > 0) this.#actor.send({ type: 'STATE_LOST' })
    else if (this.state === 'learning') this.#actor.send({ type: 'LEARNED' })
    // To a machine that is in step it would say nothing, with each reply.
    else if (this.state !== 'synced') this.#actor.send({ type: 'STORE_READY' })
  }
}
