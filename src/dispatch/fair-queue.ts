/**
 * Where an item stands in a `FairQueue`. It is the item's own, and only the queue writes it: hundreds of thousands may
 * wait, and a second object each would be twice the memory to read.
 */
export interface Place<T> {
  /** Undefined while it stands in no line. */
  line: Line<T> | undefined
  cost: number
  /** Rising with each arrival; 0 until it first stands in line. */
  order: number
  previous: T | undefined
  next: T | undefined
}

/** The items of one flow. */
export interface Line<T> {
  readonly key: string
  readonly weight: number
  first: T | undefined
  last: T | undefined
  /** Virtual time at which the flow's next item starts. */
  start: number
}

/** Finish tags of idle flows are kept until virtual time has passed them, and swept at this many. */
const MAX_IDLE_FLOWS = 1024

/**
 * Start-time fair queueing (Goyal, Vin & Chen 1996): the flow with the smallest start tag goes next, each item moves its
 * flow's tag by cost/weight. First come, first served inside a flow; a flow that was idle starts at the queue's virtual
 * time, so it gains no credit. Adding and removing are O(1), taking is O(flows with items).
 */
export class FairQueue<T extends Place<T>> {
  #size = 0
  #virtualTime = 0
  #lastOrder = 0
  readonly #lines = new Map<string, Line<T>>()
  readonly #finishTags = new Map<string, number>()

  get size(): number {
    return this.#size
  }

  /** Flows that have items. */
  get flowCount(): number {
    return this.#lines.size
  }

  /**
   * Adds an item to its flow: at the end, or, if it stood here before, where it would stand had it never left; then its
   * flow no longer pays for it. `cost` and `weight` must be above 0.
   */
  add(key: string, weight: number, cost: number, item: T): void {
    let line = this.#lines.get(key)
    if (!line) {
      const start = Math.max(this.#virtualTime, this.#finishTags.get(key) ?? 0)
      line = { key, weight, first: undefined, last: undefined, start }
      this.#lines.set(key, line)
      this.#finishTags.delete(key)
    }
    item.line = line
    item.cost = cost
    item.previous = line.last
    item.next = undefined
    if (item.order === 0) item.order = ++this.#lastOrder
    else {
      line.start -= cost / weight
      // Who comes back was among the first: look from the front.
      let after = line.first
      while (after && after.order < item.order) after = after.next
      item.next = after
      item.previous = after ? after.previous : line.last
    }
    if (item.previous) item.previous.next = item
    else line.first = item
    if (item.next) item.next.previous = item
    else line.last = item
    this.#size++
  }

  /** Takes the next item in fair order. */
  shift(): T | undefined {
    const item = this.#nextLine()?.first
    if (item) this.take(item)
    return item
  }

  /** Takes this item as served: its flow pays for it. */
  take(item: T): void {
    const { line } = item
    if (!line) return
    this.#virtualTime = Math.max(this.#virtualTime, line.start)
    line.start += item.cost / line.weight
    this.#unlink(item, line)
  }

  /** Removes an item unserved, at no charge. Returns false if it was gone already. */
  remove(item: T): boolean {
    const { line } = item
    if (!line) return false
    this.#unlink(item, line)
    return true
  }

  /**
   * The next items in fair order, left in place: at most `max`, of each flow at most `perFlow(key)`, and of a flow none
   * from the first that `accept` turns down.
   */
  peek(max: number, perFlow: (key: string) => number, accept: (item: T) => boolean = () => true): T[] {
    const cursors = [...this.#lines.values()].map((line) => ({
      item: line.first,
      weight: line.weight,
      tag: line.start,
      left: perFlow(line.key),
    }))
    const items: T[] = []
    while (items.length < max) {
      let best: (typeof cursors)[number] | undefined
      for (const cursor of cursors) {
        if (cursor.item && cursor.left > 0 && (!best || cursor.tag < best.tag)) best = cursor
      }
      if (!best?.item) break
      if (!accept(best.item)) {
        best.left = 0
        continue
      }
      items.push(best.item)
      best.tag += best.item.cost / best.weight
      best.item = best.item.next
      best.left--
    }
    return items
  }

  /** Every item, flow by flow. */
  *[Symbol.iterator](): Iterator<T> {
    for (const line of this.#lines.values()) {
      for (let item = line.first; item; item = item.next) yield item
    }
  }

  #nextLine(): Line<T> | undefined {
    let best: Line<T> | undefined
    for (const line of this.#lines.values()) if (!best || line.start < best.start) best = line
    return best
  }

  #unlink(item: T, line: Line<T>): void {
    const { previous, next } = item
    if (previous) previous.next = next
    else line.first = next
    if (next) next.previous = previous
    else line.last = previous
    // Else what left would hold all that came after it: whatever has grown old with it, until a full collection.
    item.line = undefined
    item.previous = undefined
    item.next = undefined
    this.#size--
    if (line.first) return
    this.#lines.delete(line.key)
    if (this.#size === 0) {
      this.#finishTags.clear()
      this.#virtualTime = 0
    } else if (line.start > this.#virtualTime) {
      this.#finishTags.set(line.key, line.start)
      if (this.#finishTags.size > MAX_IDLE_FLOWS) this.#sweep()
    }
  }

  #sweep(): void {
    for (const [key, tag] of this.#finishTags) if (tag <= this.#virtualTime) this.#finishTags.delete(key)
    // Still too many tenants with debts of service: forget the oldest rather than grow without bound.
    for (const key of this.#finishTags.keys()) {
      if (this.#finishTags.size <= MAX_IDLE_FLOWS) break
      this.#finishTags.delete(key)
    }
  }
}
