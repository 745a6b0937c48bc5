import { setTimeout as sleep } from 'node:timers/promises'
import type { Headgate } from '../../../index.js'
import type { Fleet } from './fleet.js'
import { replayGate } from './governed.js'
import { spell } from './limits.js'
import { type WorkerSetup, wallMs } from './protocol.js'

/** Which worker is killed. */
const VICTIM = 2
const POLL_MS = 100
/** How long to wait for a moment at which the worker holds a slot. */
const MAX_AIM_MS = 5_000
/** A lease is about 10 s. */
const MAX_SLOTS_BACK_MS = 30_000
const POKE_MS = 500

export interface KillReport {
  readonly lost: number
  /** From the kill until its slots were free; null when it held none. */
  readonly slotsBackMs: number | null
}

/** Kills one worker in the middle of a replay, and watches the store for its slots to come back. */
export class Killing {
  readonly #gate: Headgate
  readonly #model: string
  #victimId: string | undefined
  #result: Promise<KillReport> | undefined

  constructor(
    private readonly fleet: Fleet,
    setup: WorkerSetup,
    private readonly note: (line: string) => void,
  ) {
    this.#gate = replayGate(setup)
    this.#model = setup.pool.model
  }

  /** Starts the victim ahead of the others: only so is it known which of the store's processes it is. */
  async startFleet(): Promise<void> {
    await this.#gate.ready()
    const before = new Set(await this.#processIds())
    await this.fleet.start(VICTIM)
    this.#victimId = (await this.#processIds()).find((id) => !before.has(id))?.split('.')[0]
    await this.fleet.start()
  }

  /** Arms the kill for an instant of the replay, in wall ms since its start. */
  arm(atMs: number, signal: AbortSignal): void {
    this.#result = this.#run(atMs, signal)
    this.#result.catch(() => {})
  }

  async finish(): Promise<KillReport> {
    return this.#result!
  }

  close(): Promise<void> {
    return this.#gate.close()
  }

  async #run(atMs: number, over: AbortSignal): Promise<KillReport> {
    await sleep(Math.max(0, atMs - this.fleet.elapsedMs))
    let held = 0
    const giveUpMs = wallMs() + MAX_AIM_MS
    const { killedWallMs, lost } = await this.fleet.kill(VICTIM, async () => {
      held = await this.#slotsHeld()
      return held > 0 || wallMs() > giveUpMs || over.aborted
    })
    this.note(`worker ${VICTIM} killed: ${lost} requests it held are lost with it`)
    if (held === 0) return { lost, slotsBackMs: null }
    let pokedMs = 0
    while ((await this.#slotsHeld()) > 0) {
      if (wallMs() - killedWallMs > MAX_SLOTS_BACK_MS) {
        this.note(`slots that worker ${VICTIM} held (${held}): not back after ${spell(MAX_SLOTS_BACK_MS)}`)
        return { lost, slotsBackMs: null }
      }
      // A fleet that has nothing to ask the store does not notice that a lease ran out.
      if (over.aborted && wallMs() - pokedMs > POKE_MS) {
        pokedMs = wallMs()
        await this.#gate.run({ pool: this.#model, deadline: POKE_MS }, async () => {}).catch(() => {})
      }
      await sleep(POLL_MS)
    }
    const slotsBackMs = Math.round(wallMs() - killedWallMs)
    this.note(`slots that worker ${VICTIM} held (${held}): back ${slotsBackMs} ms after the kill, in real time`)
    return { lost, slotsBackMs }
  }

  async #slotsHeld(): Promise<number> {
    const usage = await this.#gate.usage()
    const own = usage.flatMap(({ processes }) =>
      Object.entries(processes).filter(([id]) => this.#victimId !== undefined && id.startsWith(`${this.#victimId}.`)),
    )
    return own.flatMap(([, slots]) => Object.values(slots)).reduce((sum, count) => sum + count, 0)
  }

  async #processIds(): Promise<string[]> {
    return (await this.#gate.usage()).flatMap(({ processes }) => Object.keys(processes))
  }
}
