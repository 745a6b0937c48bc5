import { FreshMap } from '../registry.js'

/**
 * Where an item stands in a `FairQueue`. It is the item's own, and only the queue writes it: hundreds of thousands may
 * wait, and a second object each would be twice the memory to read.
 */
export interface Place<T> {
  /** Undefined while it stands in no line. */
  line: Line<T> | undefined
  cost: number
  /** Where in its line, counted from the line's beginning. */
  at: number
  /** Rising with each arrival; 0 until it first stands in line. */
  order: number
}

/**
 * The items of one flow. Side by side, not linked: a link is known only when the item before it has come from memory, and
 * the collector moves items in the order in which it finds them, which along the links of several lines is all of them
 * mixed.
 */
export interface Line<T> {
  readonly key: string
  readonly weight: number
  /** With gaps before `head`, and where items left from among the others. */
  places: (T | undefined)[]
  /** How many places lay before these and are gone. */
  base: number
  /** Index of the first item. */
  head: number
  count: number
  /** Virtual time at which the flow's next item starts. */
  start: number
}

/** A line of more gaps than items is closed up, if it is as long as this. */
const MIN_CLOSED = 32
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
  readonly #lines = new FreshMap<string, Line<T>>()
  readonly #finishTags = new FreshMap<string, number>()

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
      line = { key, weight, places: [], base: 0, head: 0, count: 0, start }
      this.#lines.set(key, line)
      this.#finishTags.delete(key)
    }
    item.line = line
    item.cost = cost
    if (item.order === 0) {
      item.order = ++this.#lastOrder
      item.at = line.base + line.places.length
      line.places.push(item)
    } else {
      line.start -= cost / weight
      putBack(line, item)
    }
    line.count++
    this.#size++
  }

  /** Takes the next item in fair order. */
  shift(): T | undefined {
    const line = this.#nextLine()
    const item = line && firstOf(line)
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
      item: firstOf(line),
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
      best.item = nextOf(best.item)
      best.left--
    }
    return items
  }

  /** Every item, flow by flow. */
  *[Symbol.iterator](): Iterator<T> {
    for (const line of this.#lines.values()) {
      for (let item = firstOf(line); item; item = nextOf(item)) yield item
    }
  }

  #nextLine(): Line<T> | undefined {
    let best: Line<T> | undefined
    for (const line of this.#lines.values()) if (!best || line.start < best.start) best = line
    return best
  }

  #unlink(item: T, line: Line<T>): void {
    const index = item.at - line.base
    line.places[index] = undefined
    item.line = undefined
    line.count--
    this.#size--
    if (line.count > 0) {
      if (index === line.head) while (!line.places[line.head]) line.head++
      if (line.places.length >= MIN_CLOSED && line.places.length > 2 * line.count) closeUp(line)
      return
    }
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

export function firstOf<T>(line: Line<T>): T | undefined {
  return line.places[line.head]
}

/** The one behind an item that stands in line. */
export function nextOf<T extends Place<T>>({ line, at }: T): T | undefined {
  if (!line) return undefined
  const { places } = line
  for (let index = at - line.base + 1; index < places.length; index++) if (places[index]) return places[index]
  return undefined
}

/** Puts an item where it would stand had it never left; whoever is before it moves up. */
function putBack<T extends Place<T>>(line: Line<T>, item: T): void {
  if (line.head === 0) {
    // More than one: all move for it, and who comes back is seldom alone.
    line.places = Array<T | undefined>(MIN_CLOSED).fill(undefined).concat(line.places)
    line.base -= MIN_CLOSED
    line.head = MIN_CLOSED
  }
  const { places } = line
  let index = --line.head
  // Who comes back was among the first: look from the front.
  for (; index + 1 < places.length; index++) {
    const before = places[index + 1]
    if (before && before.order > item.order) break
    places[index] = before
    if (before) before.at = line.base + index
  }
  places[index] = item
  item.at = line.base + index
}

function closeUp<T extends Place<T>>(line: Line<T>): void {
  // Mostly all gaps are those of who was first: then no item need be touched.
  if (2 * line.head >= line.places.length) {
    line.places = line.places.slice(line.head)
    line.base += line.head
  } else {
    line.places = line.places.filter((item) => item)
    for (const [index, item] of line.places.entries()) item!.at = line.base + index
  }
  line.head = 0
}
