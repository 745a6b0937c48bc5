/**
 * Maps for what comes and goes. V8 replaces a Map's table again and again as entries leave, or all at once in `clear`, and
 * every old table points to the next one. As soon as one of them has grown old, all that the later ones ever held is kept
 * until a full collection, and moved to where only that one looks.
 */

/** A Map whose chain of tables ends whenever it empties: for few entries, and those seldom all at once. */
export class FreshMap<K, V> {
  #map = new Map<K, V>()

  get size(): number {
    return this.#map.size
  }

  get(key: K): V | undefined {
    return this.#map.get(key)
  }

  has(key: K): boolean {
    return this.#map.has(key)
  }

  set(key: K, value: V): void {
    this.#map.set(key, value)
  }

  /** Returns whether it was there. */
  delete(key: K): boolean {
    if (this.#map.size > 1) return this.#map.delete(key)
    if (!this.#map.has(key)) return false
    this.#map = new Map()
    return true
  }

  clear(): void {
    if (this.#map.size > 0) this.#map = new Map()
  }

  keys(): IterableIterator<K> {
    return this.#map.keys()
  }

  values(): IterableIterator<V> {
    return this.#map.values()
  }

  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.#map[Symbol.iterator]()
  }
}

/**
 * What is under way by its key, in order of arrival, of which there may always be some: a table holds cells that are
 * emptied when their value leaves. Keys should be small: they do stay until it empties.
 */
export class Registry<K extends string | number, V> {
  readonly #cells = new FreshMap<K, { value: V | undefined }>()

  get size(): number {
    return this.#cells.size
  }

  get(key: K): V | undefined {
    return this.#cells.get(key)?.value
  }

  has(key: K): boolean {
    return this.#cells.has(key)
  }

  set(key: K, value: V): void {
    this.#cells.set(key, { value })
  }

  /** Returns whether it was there. */
  delete(key: K): boolean {
    const cell = this.#cells.get(key)
    if (!cell) return false
    cell.value = undefined
    return this.#cells.delete(key)
  }

  *[Symbol.iterator](): IterableIterator<V> {
    for (const { value } of this.#cells.values()) if (value !== undefined) yield value
  }
}
