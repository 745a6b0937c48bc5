import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Grant } from '../../src/dispatch/grant.js'
import type { Process, Wait } from './fleet.js'
import { tokenFleetOf } from './small-fleet.js'

const WINDOW_MS = 10_000
const TOKENS = 6
const CALLS = 3
const PROCESSES = 3

type Op =
  | { readonly do: 'ask'; readonly who: number; readonly cost: number; readonly flow: number }
  | { readonly do: 'send'; readonly who: number }
  | { readonly do: 'withdraw'; readonly who: number }
  | { readonly do: 'settle'; readonly who: number; readonly used: number; readonly coolDownMs: number }
  | { readonly do: 'advance'; readonly ms: number }
  | { readonly do: 'network'; readonly who: number; readonly lose: 'request' | 'reply' | undefined }
  | { readonly do: 'clock'; readonly who: number; readonly runs: boolean }
  | { readonly do: 'flush' }

const who = fc.nat(PROCESSES - 1)
const peaceful = [
  fc.record({ do: fc.constant('ask' as const), who, cost: fc.integer({ min: 1, max: 3 }), flow: fc.nat(2) }),
  fc.record({ do: fc.constant('send' as const), who }),
  fc.record({ do: fc.constant('withdraw' as const), who }),
  fc.record({
    do: fc.constant('settle' as const),
    who,
    used: fc.nat(3),
    coolDownMs: fc.constantFrom(0, 0, 0, 2_000),
  }),
  fc.record({ do: fc.constant('advance' as const), ms: fc.oneof(fc.nat(60), fc.nat(6_000)) }),
]
const faulty = [
  fc.record({
    do: fc.constant('network' as const),
    who,
    lose: fc.constantFrom('request' as const, 'reply' as const, undefined),
  }),
  fc.record({ do: fc.constant('clock' as const), who, runs: fc.boolean() }),
]
const flush = fc.constant({ do: 'flush' as const })
const opsOf = (...kinds: fc.Arbitrary<Op>[]) =>
  fc.array(fc.oneof(...kinds), { minLength: 10, maxLength: 80, size: 'max' })

interface Call {
  readonly process: Process
  readonly grant: Grant
  readonly atMs: number
  cost: number
}

/** Plays the operations; the provider's books are kept here and share nothing with the store's. */
class Play {
  readonly fleet = tokenFleetOf(TOKENS, CALLS, WINDOW_MS)
  readonly waits = new Map<Process, Wait[]>()
  readonly calls: Call[] = []
  readonly running = new Set<Call>()
  mostRunning = 0
  idle = false

  async run(ops: readonly Op[]): Promise<void> {
    for (let i = 0; i < PROCESSES; i++) this.waits.set(await this.fleet.join(), [])
    // Everybody hears of everybody: a process is told of those that joined after it with its own next exchange.
    for (const process of this.fleet.processes) {
      process.dispatcher.settle(await process.send({ draws: [1], flowKey: 'first' }), { unsent: true })
      await this.fleet.settle()
    }
    for (const op of ops) await this.#step(op)
    await this.#end()
  }

  async #step(op: Op): Promise<void> {
    if (op.do === 'advance') return this.fleet.clock.advanceAsync(op.ms)
    if (op.do === 'flush') return this.fleet.loseState()
    const process = this.fleet.processes[op.who]!
    const waits = this.waits.get(process)!
    // A stopped process does nothing at all.
    if (op.do === 'clock') return op.runs ? process.clock.resume() : process.clock.stop()
    if (process.clock.stopped) return
    if (op.do === 'network') process.store.lose = op.lose
    else if (op.do === 'ask') {
      waits.push(process.ask({ flowKey: `flow ${op.flow}`, tokens: op.cost }))
    } else if (op.do === 'withdraw') {
      const index = waits.findIndex(({ grants }) => grants.length === 0)
      if (index >= 0) process.dispatcher.withdraw(waits.splice(index, 1)[0]!.request)
    } else if (op.do === 'send') this.#send(process)
    else if (op.do === 'settle') {
      const call = [...this.running].find((candidate) => candidate.process === process)
      if (call) this.#settle(call, Math.min(call.cost, op.used), op.coolDownMs)
    }
    await this.fleet.settle()
  }

  /** Sends what was granted; what may not be sent any more goes back. */
  #send(process: Process): void {
    const waits = this.waits.get(process)!
    for (const wait of waits.filter(({ grants }) => grants.length > 0)) {
      waits.splice(waits.indexOf(wait), 1)
      const grant = wait.grants[0]!
      if (!process.dispatcher.maySend(grant)) {
        process.dispatcher.settle(grant, { unsent: true })
        continue
      }
      const call = { process, grant, atMs: this.fleet.clock.now(), cost: grant.tokens }
      this.calls.push(call)
      this.running.add(call)
      this.mostRunning = Math.max(this.mostRunning, this.running.size)
    }
  }

  #settle(call: Call, used: number, coolDownMs: number): void {
    const tokensDelta = used - call.cost
    call.cost = used
    this.running.delete(call)
    call.process.dispatcher.settle(call.grant, { tokensDelta, coolDownMs })
  }

  /** Heals everything and lets every wait end. */
  async #end(): Promise<void> {
    for (const process of this.fleet.processes) {
      process.store.lose = undefined
      if (process.clock.stopped) process.clock.resume()
    }
    for (let turn = 0; turn < 2_000 && this.#waiting > 0; turn++) {
      for (const call of this.running) this.#settle(call, call.cost, 0)
      await this.fleet.clock.advanceAsync(turn % 2 === 0 ? 0 : 100)
      for (const process of this.fleet.processes) this.#send(process)
    }
    for (const call of this.running) this.#settle(call, call.cost, 0)
    void Promise.all(this.fleet.processes.map(({ dispatcher }) => dispatcher.idle())).then(() => {
      this.idle = true
    })
    // A reconnection may be a second away.
    await this.fleet.clock.advanceAsync(2_000)
  }

  get #waiting(): number {
    return [...this.waits.values()].flat().length
  }

  /** The most that arrived in any window. */
  get worstWindow(): number {
    const sums = this.calls.map(({ atMs }) =>
      this.calls
        .filter((call) => call.atMs <= atMs && call.atMs > atMs - WINDOW_MS)
        .reduce((sum, { cost }) => sum + cost, 0),
    )
    return Math.max(0, ...sums)
  }

  check(): void {
    expect(this.worstWindow).toBeLessThanOrEqual(TOKENS)
    expect(this.#waiting).toBe(0)
    expect(this.idle).toBe(true)
    for (const { dispatcher, store } of this.fleet.processes) {
      expect(store.mostInFlight).toBe(1)
      expect([dispatcher.waiting, dispatcher.open]).toEqual([0, 0])
    }
    for (const { sum, bucketSum } of this.fleet.group.audit()) expect(sum).toBe(bucketSum)
  }
}

describe('several dispatchers on one store', () => {
  test('no window and no moment over its limit; everything asked for ends, and nothing stays held', async () => {
    await fc.assert(
      fc.asyncProperty(opsOf(...peaceful), async (ops) => {
        const play = new Play()
        await play.run(ops)
        play.check()
        expect(play.mostRunning).toBeLessThanOrEqual(CALLS)
        expect(play.fleet.used[1]).toBe(0)
      }),
      { numRuns: 100 },
    )
  })

  test('no window over its limit though requests and replies are lost and processes stop for longer than their leases', async () => {
    await fc.assert(
      fc.asyncProperty(opsOf(...peaceful, ...faulty), async (ops) => {
        const play = new Play()
        await play.run(ops)
        play.check()
        // What a lost reply granted returns with its lease.
        await play.fleet.clock.advanceAsync(60_000)
        await play.fleet.processes[0]!.send({ draws: [1], flowKey: 'last' })
        expect(play.fleet.used[1]).toBe(1)
      }),
      { numRuns: 150 },
    )
  })

  test('no window over its limit though the store loses its state as well', async () => {
    await fc.assert(
      fc.asyncProperty(opsOf(...peaceful, ...faulty, flush), async (ops) => {
        const play = new Play()
        await play.run(ops)
        play.check()
      }),
      { numRuns: 150 },
    )
  })
})
