/**
 * What is under way by its key, in order of arrival: a Map for what comes and goes.
 * V8 replaces a Map's table again and again as entries leave, and every old table points to the next one. As soon as one of
 * them has grown old, all that the later ones ever held is kept until a full collection, and moved there first. Here a table
 * holds cells that are emptied when their value leaves. Keys should be small: they do stay.
 */
export class Registry<K extends string | number, V> {
  readonly #cells = new Map<K, { value: V | undefined }>()

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

  delete(key: K): void {
    const cell = this.#cells.get(key)
    if (!cell) return
    cell.value = undefined
    this.#cells.delete(key)
  }

  *[Symbol.iterator](): Iterator<V> {
    for (const { value } of this.#cells.values()) if (value !== undefined) yield value
  }
}
