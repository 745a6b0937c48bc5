/** An item's place in a `FairQueue`. */
export interface Place<T> {
  readonly item: T
  readonly flow: Flow<T>
  readonly cost: number
  /** Rising with each arrival. */
  readonly order: number
  previous: Place<T> | undefined
  next: Place<T> | undefined
  queued: boolean
}

export interface Flow<T> {
  readonly key: string
  readonly weight: number
  first: Place<T> | undefined
  last: Place<T> | undefined
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
export class FairQueue<T> {
  #size = 0
  #virtualTime = 0
  #lastOrder = 0
  readonly #flows = new Map<string, Flow<T>>()
  readonly #finishTags = new Map<string, number>()

  get size(): number {
    return this.#size
  }

  /** Flows that have items. */
  get flowCount(): number {
    return this.#flows.size
  }

  /**
   * Adds an item to its flow: at the end, or, with the `order` of a place it had before, where it would stand had it never
   * left; then its flow no longer pays for it. `cost` and `weight` must be above 0.
   */
  add(key: string, weight: number, cost: number, item: T, order?: number): Place<T> {
    let flow = this.#flows.get(key)
    if (!flow) {
      const start = Math.max(this.#virtualTime, this.#finishTags.get(key) ?? 0)
      flow = { key, weight, first: undefined, last: undefined, start }
      this.#flows.set(key, flow)
      this.#finishTags.delete(key)
    }
    const place: Place<T> = {
      item,
      flow,
      cost,
      order: order ?? ++this.#lastOrder,
      previous: flow.last,
      next: undefined,
      queued: true,
    }
    if (order !== undefined) {
      flow.start -= cost / weight
      // Who comes back was among the first: look from the front.
      let after = flow.first
      while (after && after.order < order) after = after.next
      place.next = after
      place.previous = after ? after.previous : flow.last
    }
    if (place.previous) place.previous.next = place
    else flow.first = place
    if (place.next) place.next.previous = place
    else flow.last = place
    this.#size++
    return place
  }

  /** Takes the next item in fair order. */
  shift(): T | undefined {
    const flow = this.#nextFlow()
    if (!flow?.first) return undefined
    const place = flow.first
    this.take(place)
    return place.item
  }

  /** Takes this item as served: its flow pays for it. */
  take(place: Place<T>): void {
    if (!place.queued) return
    const { flow } = place
    this.#virtualTime = Math.max(this.#virtualTime, flow.start)
    flow.start += place.cost / flow.weight
    this.#unlink(place)
  }

  /** Removes an item unserved, at no charge. Returns false if it was gone already. */
  remove(place: Place<T>): boolean {
    if (!place.queued) return false
    this.#unlink(place)
    return true
  }

  /**
   * The next items in fair order, left in place: at most `max`, of each flow at most `perFlow(key)`, and of a flow none
   * from the first that `accept` turns down.
   */
  peek(max: number, perFlow: (key: string) => number, accept: (item: T) => boolean = () => true): Place<T>[] {
    const cursors = [...this.#flows.values()].map((flow) => ({
      place: flow.first,
      tag: flow.start,
      left: perFlow(flow.key),
    }))
    const places: Place<T>[] = []
    while (places.length < max) {
      let best: (typeof cursors)[number] | undefined
      for (const cursor of cursors) {
        if (cursor.place && cursor.left > 0 && (!best || cursor.tag < best.tag)) best = cursor
      }
      if (!best?.place) break
      if (!accept(best.place.item)) {
        best.left = 0
        continue
      }
      places.push(best.place)
      best.tag += best.place.cost / best.place.flow.weight
      best.place = best.place.next
      best.left--
    }
    return places
  }

  /** Every item, flow by flow. */
  *[Symbol.iterator](): Iterator<T> {
    for (const flow of this.#flows.values()) {
      for (let place = flow.first; place; place = place.next) yield place.item
    }
  }

  #nextFlow(): Flow<T> | undefined {
    let best: Flow<T> | undefined
    for (const flow of this.#flows.values()) if (!best || flow.start < best.start) best = flow
    return best
  }

  #unlink(place: Place<T>): void {
    const { flow, previous, next } = place
    if (previous) previous.next = next
    else flow.first = next
    if (next) next.previous = previous
    else flow.last = previous
    place.queued = false
    // Else what left would hold all that came after it: whatever has grown old with it, until a full collection.
    place.previous = undefined
    place.next = undefined
    this.#size--
    if (flow.first) return
    this.#flows.delete(flow.key)
    if (this.#size === 0) {
      this.#finishTags.clear()
      this.#virtualTime = 0
    } else if (flow.start > this.#virtualTime) {
      this.#finishTags.set(flow.key, flow.start)
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
