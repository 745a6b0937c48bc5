import { describe, expect, test } from 'vitest'
import { AnswerCache, type CacheRules, MAX_ANSWER_CHARS } from '../../src/answers/answer-cache.js'
import { RedisAnswers } from '../../src/answers/redis-answers.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'

const answer = (value: unknown) => ({ httpStatus: 200, value, events: undefined })

function cacheOf(rules: Partial<CacheRules> = {}) {
  const clock = new VirtualClock()
  const cache = new AnswerCache(
    { maxEntries: 10, maxBytes: 1_000_000, ttlMs: 1_000, staleTtlMs: 5_000, ...rules },
    clock,
  )
  return { clock, cache }
}

describe('answers in memory', () => {
  test('are fresh for their time, then stale, then gone', async () => {
    const { clock, cache } = cacheOf()
    await cache.keep('k', answer('v'))
    clock.advance(999)
    expect(cache.peek('k')).toEqual(answer('v'))
    clock.advance(1)
    expect(cache.peek('k')).toBeUndefined()
    expect(await cache.recall('k')).toEqual(answer('v'))
    clock.advance(5_000)
    expect(await cache.recall('k')).toBeUndefined()
    expect(cache.counts).toEqual({ entries: 0, bytes: 0, hits: 1, misses: 1, stale: 1, stored: 1 })
  })

  test('each is a new copy', async () => {
    const { cache } = cacheOf()
    const given = { list: [1] }
    await cache.keep('k', answer(given))
    given.list.push(2)
    const first = cache.peek('k')!.value as typeof given
    expect(first).toEqual({ list: [1] })
    first.list.push(3)
    expect(cache.peek('k')!.value).toEqual({ list: [1] })
  })

  test('are bounded by number, the one asked for longest ago going first', async () => {
    const { cache } = cacheOf({ maxEntries: 2 })
    for (const key of ['a', 'b']) await cache.keep(key, answer(key))
    cache.peek('a')
    await cache.keep('c', answer('c'))
    expect(['a', 'b', 'c'].map((key) => cache.peek(key)?.value)).toEqual(['a', undefined, 'c'])
  })

  test('are bounded by size, and a large one is not kept at all', async () => {
    const { cache } = cacheOf({ maxBytes: 10_000 })
    for (let index = 0; index < 20; index++) await cache.keep(String(index), answer('x'.repeat(1_000)))
    expect(cache.counts.bytes).toBeLessThanOrEqual(10_000)
    expect(cache.counts.entries).toBe(4)
    await cache.keep('19', answer('y'.repeat(6_000)))
    expect(cache.peek('19')).toBeUndefined()
    const roomy = cacheOf({ maxBytes: 100 * MAX_ANSWER_CHARS }).cache
    await roomy.keep('k', answer('z'.repeat(MAX_ANSWER_CHARS)))
    expect(roomy.counts).toMatchObject({ entries: 0, stored: 0 })
  })

  test('nothing is kept for no time', async () => {
    const { cache } = cacheOf({ ttlMs: 0, staleTtlMs: 0 })
    await cache.keep('k', answer('v'))
    expect(cache.counts).toMatchObject({ entries: 0, stored: 0 })
  })
})

describe('answers in a Redis that does not behave', () => {
  const clock = new VirtualClock()
  const over = (commands: object) =>
    new RedisAnswers({ commands: { status: 'ready', ...commands } as never }, clock, 'headgate')

  test('one that is silent is a miss, in a bounded time', async () => {
    const answers = over({ get: () => new Promise(() => {}) })
    const found = answers.get('k')
    await clock.advanceAsync(50)
    expect(await found).toBeUndefined()
    expect(clock.pendingTimers).toBe(0)
  })

  test.each([
    ['is away', { status: 'reconnecting' }],
    ['fails', { get: () => Promise.reject(new Error('LOADING')), set: () => Promise.reject(new Error('OOM')) }],
    ['holds something else', { get: async () => 'hello' }],
    ['holds a text with no time', { get: async () => 'x {}' }],
  ])('one that %s is a miss', async (_, commands) => {
    expect(await over(commands).get('k')).toBeUndefined()
  })

  test('what does not keep an answer breaks nothing', async () => {
    for (const commands of [{ status: 'end' }, { set: () => Promise.reject(new Error('OOM')) }]) {
      await over(commands).set('k', { text: '{}', atMs: 1 }, 1_000)
    }
  })
})
