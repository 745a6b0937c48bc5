import type { Clock, TimerHandle } from '../clock.js'
import { Alarm } from './alarm.js'

/** Dated items that fall due in one turn of the event loop: each runs its receiver, so a larger burst would block it. */
const DUE_PER_TURN = 32
/** With more than so many at hand while some are overdue, others would be overdue before their turn. */
const AT_HAND = 128

/** A grant of the store that no request is bound to yet. */
export interface DatedGrant {
  /** Rising as the store gave them. */
  readonly order: number
  readonly flowKey: string
  readonly pool: number
  readonly tokens: number
  /** Store time. */
  readonly notBeforeMs: number
  /** Local time by which the store's clock surely reads `notBeforeMs`. */
  readonly dueMs: number
}

/** Grants by date: a binary heap and one timer. Each is handed out at its date, never before, a few per turn. */
export class Calendar {
  readonly #heap: DatedGrant[] = []
  readonly #alarm: Alarm
  #turn: TimerHandle | undefined

  constructor(
    private readonly clock: Clock,
    /** Whether it took any time. */
    private readonly due: (grant: DatedGrant) => boolean,
    private readonly calm: () => void = () => {},
  ) {
    this.#alarm = new Alarm(clock, () => this.go())
  }

  get size(): number {
    return this.#heap.length
  }

  /** Whether it hands grants out as fast as it may and has plenty: no time to ask for more. `calm` tells when it is over. */
  get busy(): boolean {
    return this.#turn !== undefined && this.#heap.length > AT_HAND
  }

  add(grant: DatedGrant): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(grant)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(grant, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = grant
  }

  /** Hands out what is due, this turn's share of it, and sets the timer for the rest. */
  go(): void {
    if (this.#turn !== undefined) return
    let left = DUE_PER_TURN
    const nowMs = this.clock.now()
    for (let next = this.#heap[0]; next && next.dueMs <= nowMs; next = this.#heap[0]) {
      if (left === 0) {
        this.#turn = this.clock.setTimeout(() => {
          const { busy } = this
          this.#turn = undefined
          this.go()
          if (busy && !this.busy) this.calm()
        }, 0)
        return
      }
      this.#shift()
      if (this.due(next)) left--
    }
    const next = this.#heap[0]
    if (next) this.#alarm.set(next.dueMs)
    else this.#alarm.clear()
  }

  /** Takes out what no longer holds. */
  recall(gone: (grant: DatedGrant) => boolean): DatedGrant[] {
    const taken: DatedGrant[] = []
    const kept: DatedGrant[] = []
    for (const grant of this.#heap) (gone(grant) ? taken : kept).push(grant)
    if (taken.length === 0) return taken
    this.#heap.length = 0
    for (const grant of kept) this.add(grant)
    return taken
  }

  stop(): void {
    this.#alarm.clear()
    this.clock.clearTimeout(this.#turn)
    this.#turn = undefined
    this.#heap.length = 0
  }

  #shift(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: DatedGrant, b: DatedGrant): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order)
}
