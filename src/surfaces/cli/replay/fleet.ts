import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { CliError } from '../errors.js'
import { type Child, endChild, startChild } from './children.js'
import { type DealtRow, type FromWorker, type RowResult, type ToWorker, type WorkerSetup, wallMs } from './protocol.js'
import type { Trace } from './trace.js'

/** How far ahead of their time rows are dealt, in wall ms. */
const LOOK_AHEAD_MS = 2_000
const MAX_DEAL_PAUSE_MS = 100
const MAX_ROWS_PER_MESSAGE = 256
/** From the order to begin to the trace's first instant: time for the order to reach everyone. */
const HEAD_START_MS = 200

/** A worker's place: who comes after a killed one takes it over. */
interface Slot {
  readonly number: number
  child: Child | undefined
  /** Dealt and not ended. */
  readonly held: Map<number, DealtRow>
  /** Read, and not sent to the worker yet. */
  buffer: DealtRow[]
  refused: number
}

export interface FleetEvents {
  onResult(result: RowResult, row: DealtRow): void
}

/** The worker processes of one replay. Rows are dealt round robin, each shortly before its time. */
export class Fleet {
  readonly #slots: Slot[]
  #startWallMs = 0
  #closing = false
  #open = 0
  #refusedByDead = 0
  #fail: (error: Error) => void = () => {}
  /** Rejects when a worker broke. */
  readonly #broken: Promise<never>
  #onIdle: () => void = () => {}

  constructor(
    private readonly setup: WorkerSetup,
    processes: number,
    private readonly events: FleetEvents,
  ) {
    this.#slots = Array.from({ length: processes }, (_, index) => ({
      number: index + 1,
      child: undefined,
      held: new Map(),
      buffer: [],
      refused: 0,
    }))
    this.#broken = new Promise((_, reject) => {
      this.#fail = reject
    })
    this.#broken.catch(() => {})
  }

  /** Starts the workers that are not running yet; all, or only the one with this number. */
  async start(only?: number): Promise<void> {
    const missing = this.#slots.filter(({ child, number }) => !child && (only === undefined || only === number))
    await this.#orBroken(Promise.all(missing.map((slot) => this.#launch(slot))))
  }

  /** Gives the start signal; trace time 0 is the wall time returned. */
  begin(): number {
    this.#startWallMs = wallMs() + HEAD_START_MS
    for (const { child } of this.#slots) post(child, { type: 'begin', startWallMs: this.#startWallMs })
    return this.#startWallMs
  }

  /** Wall ms since trace time 0. */
  get elapsedMs(): number {
    return wallMs() - this.#startWallMs
  }

  /** Rows that are dealt and not ended, those not due yet included. */
  get open(): number {
    return this.#open
  }

  /** Answers with HTTP 429 that the workers saw. */
  get refused(): number {
    return this.#slots.reduce((sum, { refused }) => sum + refused, this.#refusedByDead)
  }

  /** Deals the whole trace and waits until every row has ended. */
  async replay(trace: Trace): Promise<void> {
    await this.#orBroken(this.#deal(trace))
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
    if (this.#open > 0) await this.#orBroken(idle)
  }

  /**
   * Kills a worker. What it held is lost and returned; what it was dealt ahead goes to the worker that replaces it.
   * `when` runs with the worker stopped, and says whether this is the moment.
   */
  async kill(number: number, when: () => Promise<boolean>): Promise<{ killedWallMs: number; lost: number }> {
    const slot = this.#slots[number - 1]!
    const { process: child } = slot.child!
    for (;;) {
      child.kill('SIGSTOP')
      if (await when()) break
      child.kill('SIGCONT')
      await sleep(5)
    }
    const killedWallMs = wallMs()
    slot.child = undefined
    // What it had said before is still in the channel.
    const drained = Promise.all([once(child, 'exit'), once(child, 'disconnect')])
    child.kill('SIGKILL')
    await drained
    this.#refusedByDead += slot.refused
    slot.refused = 0
    const dueMs = killedWallMs - this.#startWallMs
    const ahead = [...slot.held.values()].filter(([, atMs]) => atMs / this.setup.speed > dueMs)
    const lost = slot.held.size - ahead.length
    slot.held.clear()
    slot.buffer.unshift(...ahead)
    this.#open -= lost
    void this.#launch(slot)
      .then(() => {
        post(slot.child, { type: 'begin', startWallMs: this.#startWallMs })
        return this.#flush(slot)
      })
      .catch(this.#fail)
    this.#checkIdle()
    return { killedWallMs, lost }
  }

  async stop(): Promise<void> {
    this.#closing = true
    await Promise.all(
      this.#slots.map(async ({ child }) => {
        if (!child) return
        const gone = child.process.exitCode === null ? once(child.process, 'exit') : Promise.resolve()
        post(child, { type: 'finish' })
        await Promise.race([gone, sleep(3_000, undefined, { ref: false })])
        await endChild(child)
      }),
    )
  }

  async #deal(trace: Trace): Promise<void> {
    let index = 0
    for await (const { atMs, contextTokens, generatedTokens } of trace.rows()) {
      const dueMs = atMs / this.setup.speed
      while (dueMs > this.elapsedMs + LOOK_AHEAD_MS) {
        await this.#flushAll()
        const aheadMs = dueMs - this.elapsedMs - LOOK_AHEAD_MS
        await sleep(Math.min(MAX_DEAL_PAUSE_MS, Math.max(1, aheadMs)))
      }
      const slot = this.#slots[index % this.#slots.length]!
      slot.buffer.push([index++, atMs, contextTokens, generatedTokens])
      this.#open++
      if (slot.buffer.length >= MAX_ROWS_PER_MESSAGE) await this.#flush(slot)
    }
    await this.#flushAll()
  }

  async #flushAll(): Promise<void> {
    for (const slot of this.#slots) await this.#flush(slot)
  }

  /** Sends what was read; the pipe's own pace is the pace of reading. */
  async #flush(slot: Slot): Promise<void> {
    const { child } = slot
    if (!child || slot.buffer.length === 0) return
    const rows = slot.buffer
    slot.buffer = []
    for (const row of rows) slot.held.set(row[0], row)
    await new Promise((resolve) => child.process.send({ type: 'rows', rows } satisfies ToWorker, resolve))
  }

  async #launch(slot: Slot): Promise<void> {
    const child = startChild('replay-worker.js')
    const ready = new Promise<void>((resolve) => {
      child.process.on('message', (message: FromWorker) => {
        if (message.type === 'ready') resolve()
        else if (message.type === 'broken') this.#fail(new CliError(`replay worker ${slot.number}: ${message.message}`))
        else this.#absorb(slot, message)
      })
    })
    child.process.once('exit', (code, signal) => {
      if (this.#closing || slot.child !== child) return
      const how = signal ?? `code ${code}`
      const log = child.log()
      this.#fail(new CliError(`replay worker ${slot.number} ended unexpectedly (${how})${log && `:\n${log}`}`))
    })
    const { setup } = this
    slot.child = child
    post(child, { type: 'setup', setup: { ...setup, seed: setup.seed + slot.number } })
    await ready
  }

  #absorb(slot: Slot, { results, refused }: Extract<FromWorker, { type: 'results' }>): void {
    slot.refused = refused
    for (const result of results) {
      const row = slot.held.get(result[0])
      if (!row) continue
      slot.held.delete(result[0])
      this.#open--
      this.events.onResult(result, row)
    }
    this.#checkIdle()
  }

  #checkIdle(): void {
    if (this.#open === 0) this.#onIdle()
  }

  #orBroken<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#broken])
  }
}

function post(child: Child | undefined, message: ToWorker): void {
  if (child?.process.connected) child.process.send(message)
}
