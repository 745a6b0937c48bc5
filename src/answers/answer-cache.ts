import type { Clock } from '../clock.js'
import { answerIn, type KeptAnswer, type KnownAnswer, textOf } from './answer.js'
import { MemoryAnswers, type MemoryBounds } from './memory-answers.js'
import type { RedisAnswers } from './redis-answers.js'

/** A longer answer is not kept, wherever. */
export const MAX_ANSWER_CHARS = 1024 * 1024

export interface CacheRules extends MemoryBounds {
  /** How long an answer is given again. */
  readonly ttlMs: number
  /** How long after that it still stands in for one that can't be had. */
  readonly staleTtlMs: number
}

export interface CacheCounts {
  /** Answers in this process's memory, and the most that they take there. */
  readonly entries: number
  readonly bytes: number
  readonly hits: number
  readonly misses: number
  /** Answers past their time that stood in for one which couldn't be had. */
  readonly stale: number
  readonly stored: number
}

export type Freshness = 'fresh' | 'stale too'

/**
 * Answers that are given again: this process's own, and the fleet's where they are kept in Redis.
 * Every answer given is parsed anew, so that nobody's changes reach another.
 */
export class AnswerCache {
  readonly #memory: MemoryAnswers
  readonly #counts = { hits: 0, misses: 0, stale: 0, stored: 0 }

  constructor(
    private readonly rules: CacheRules,
    private readonly clock: Clock,
    private readonly shared?: RedisAnswers | undefined,
  ) {
    this.#memory = new MemoryAnswers(rules)
  }

  get counts(): CacheCounts {
    return { entries: this.#memory.entries, bytes: this.#memory.bytes, ...this.#counts }
  }

  /** Whether others may know what this process does not. */
  get isShared(): boolean {
    return this.shared !== undefined
  }

  /** An answer in this process's memory. */
  peek(key: string): KnownAnswer | undefined {
    const known = this.#read(key, this.#memory.get(key), 'fresh')
    if (known) this.#counts.hits++
    else if (!this.shared) this.#counts.misses++
    return known
  }

  /** An answer that only others know, asked for after `peek`. Takes a small, bounded time. */
  async find(key: string, count: 'count' | 'again' = 'count'): Promise<KnownAnswer | undefined> {
    const known = this.#read(key, await this.#fetch(key), 'fresh')
    if (known) this.#counts.hits++
    else if (count === 'count') this.#counts.misses++
    return known
  }

  /** Any answer there is, in place of one that can't be had. */
  async recall(key: string): Promise<KnownAnswer | undefined> {
    const own = this.#read(key, this.#memory.get(key), 'stale too')
    const known = own ?? this.#read(key, await this.#fetch(key), 'stale too')
    if (known) this.#counts.stale++
    return known
  }

  /** Resolves when all who may share it can have it. */
  async keep(key: string, answer: KnownAnswer): Promise<void> {
    const { ttlMs, staleTtlMs } = this.rules
    if (ttlMs + staleTtlMs <= 0) return
    const text = textOf(answer)
    if (text === undefined || text.length > MAX_ANSWER_CHARS) return
    const kept = { text, atMs: this.clock.wallMs() }
    this.#memory.set(key, kept)
    this.#counts.stored++
    await this.shared?.set(key, kept, ttlMs + staleTtlMs)
  }

  async #fetch(key: string): Promise<KeptAnswer | undefined> {
    const kept = await this.shared?.get(key)
    if (kept && kept.text.length <= MAX_ANSWER_CHARS) this.#memory.set(key, kept)
    return kept
  }

  #read(key: string, kept: KeptAnswer | undefined, freshness: Freshness): KnownAnswer | undefined {
    if (!kept) return undefined
    const { ttlMs, staleTtlMs } = this.rules
    const ageMs = this.clock.wallMs() - kept.atMs
    if (ageMs >= ttlMs + staleTtlMs) this.#memory.delete(key)
    if (ageMs >= ttlMs + (freshness === 'fresh' ? 0 : staleTtlMs)) return undefined
    try {
      return answerIn(kept.text)
    } catch {
      // Whoever wrote this to Redis, it was not one of us.
      this.#memory.delete(key)
      return undefined
    }
  }
}
