import type { Caller } from './caller.js'
import { governedCaller } from './governed.js'
import { type DealtRow, type FromWorker, type RowResult, type ToWorker, type WorkerSetup, wallMs } from './protocol.js'
import { unprotectedCaller } from './unprotected.js'

/** Timers are late by about 0.1 % of what they wait for, so a long wait is cut in pieces. */
const MAX_TIMER_MS = 1_000

/** One process of the replayed fleet: starts each row's request when it is due, and tells how it ended. */
class ReplayWorker {
  #caller: Caller | undefined
  #speed = 1
  #startWallMs: number | undefined
  /** Not due yet, in order. */
  #coming: DealtRow[] = []
  /** Due, but more are open than this process has memory for. */
  #held: DealtRow[] = []
  #timer: NodeJS.Timeout | undefined
  #open = 0
  #results: RowResult[] = []

  async setUp(setup: WorkerSetup): Promise<void> {
    this.#speed = setup.speed
    this.#caller = setup.mode === 'governed' ? await governedCaller(setup) : unprotectedCaller(setup)
    send({ type: 'ready' })
  }

  begin(startWallMs: number): void {
    this.#startWallMs = startWallMs
    this.#look()
  }

  take(rows: readonly DealtRow[]): void {
    this.#coming.push(...rows)
    this.#look()
  }

  async finish(): Promise<void> {
    await this.#caller?.close()
    process.disconnect?.()
  }

  #look(): void {
    clearTimeout(this.#timer)
    if (this.#startWallMs === undefined) return
    const nowMs = wallMs() - this.#startWallMs
    const later = this.#coming.findIndex(([, atMs]) => atMs / this.#speed > nowMs)
    const due = this.#coming.splice(0, later < 0 ? this.#coming.length : later)
    for (const row of due) this.#start(row)
    const next = this.#coming[0]
    if (!next) return
    const waitMs = Math.min(MAX_TIMER_MS, Math.max(0, next[1] / this.#speed - nowMs))
    this.#timer = setTimeout(() => this.#look(), waitMs)
  }

  #start(row: DealtRow): void {
    if (this.#open >= this.#caller!.maxOpen) this.#held.push(row)
    else void this.#run(row)
  }

  async #run([index, , contextTokens, generatedTokens]: DealtRow): Promise<void> {
    this.#open++
    const { status, callMs } = await this.#caller!.call(contextTokens, generatedTokens)
    this.#open--
    this.#report([index, status, wallMs() - this.#startWallMs!, callMs])
    const held = this.#held.shift()
    if (held) void this.#run(held)
  }

  /** Results of one turn go together. */
  #report(result: RowResult): void {
    this.#results.push(result)
    if (this.#results.length > 1) return
    setImmediate(() => {
      send({ type: 'results', results: this.#results, refused: this.#caller!.refused })
      this.#results = []
    })
  }
}

function send(message: FromWorker): void {
  if (process.connected) process.send!(message)
}

const worker = new ReplayWorker()
process.on('message', (message: ToWorker) => {
  if (message.type === 'setup') {
    worker.setUp(message.setup).catch((error: Error) => send({ type: 'broken', message: error.message }))
  } else if (message.type === 'begin') worker.begin(message.startWallMs)
  else if (message.type === 'rows') worker.take(message.rows)
  else void worker.finish()
})
// Ctrl-C reaches the whole group; the parent decides. Without a parent there is nothing left to do.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit())
