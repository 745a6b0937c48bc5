import { LRUCache } from 'lru-cache'
import type { KeptAnswer } from './answer.js'

/** Besides its text: the key and what keeps the order. */
const ENTRY_BYTES = 256

export interface MemoryBounds {
  readonly maxEntries: number
  readonly maxBytes: number
}

/** This process's answers, bounded by number and size; the one not asked for the longest goes first. */
export class MemoryAnswers {
  readonly #answers: LRUCache<string, KeptAnswer>

  constructor({ maxEntries, maxBytes }: MemoryBounds) {
    this.#answers = new LRUCache({
      max: maxEntries,
      maxSize: maxBytes,
      // As V8 holds it at the most: two bytes a character.
      sizeCalculation: ({ text }) => ENTRY_BYTES + text.length * 2,
    })
  }

  get entries(): number {
    return this.#answers.size
  }

  get bytes(): number {
    return this.#answers.calculatedSize
  }

  get(key: string): KeptAnswer | undefined {
    return this.#answers.get(key)
  }

  /** Too large a one is not kept, nor what it would have replaced. */
  set(key: string, kept: KeptAnswer): void {
    this.#answers.set(key, kept)
  }

  delete(key: string): void {
    this.#answers.delete(key)
  }
}
