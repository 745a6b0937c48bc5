import type { RequestPlan } from '../plan.js'
import type { SimProcess } from '../sim-process.js'
import type { World } from '../world.js'

export interface Waiting {
  readonly process: SimProcess
  readonly request: RequestPlan
  /** Place in its flow: kept by who comes back after a grant that went void. */
  readonly place: number
  readonly sinceMs: number
}

/** Who waits for a grant, by process and flow; several checkers need it. */
export class WaitingList {
  readonly all = new Map<string, Waiting>()
  readonly #kept = new Map<string, number>()
  #place = 0

  constructor(private readonly world: World) {}

  static flowOf({ process, request: { pool, tenant, priority } }: Pick<Waiting, 'process' | 'request'>): string {
    return `${process.name}|${pool}|${tenant}|${priority}`
  }

  join(process: SimProcess, request: RequestPlan): void {
    const key = keyOf(process, request)
    const place = this.#kept.get(key) ?? ++this.#place
    this.#kept.delete(key)
    this.all.set(key, { process, request, place, sinceMs: this.world.clock.now() })
  }

  leave(process: SimProcess, request: RequestPlan): Waiting | undefined {
    const key = keyOf(process, request)
    const waiting = this.all.get(key)
    this.all.delete(key)
    return waiting
  }

  /** What it was granted came to nothing: if it waits again, it is where it was. */
  keep(process: SimProcess, request: RequestPlan, place: number): void {
    this.#kept.set(keyOf(process, request), place)
  }

  forget(process: SimProcess): void {
    for (const [key, waiting] of this.all) if (waiting.process === process) this.all.delete(key)
  }
}

function keyOf(process: SimProcess, { id }: RequestPlan): string {
  return `${process.name}#${id}`
}
