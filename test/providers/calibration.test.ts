import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Calibration, DecayingQuantile } from '../../src/providers/calibration.js'
import { Estimator } from '../../src/providers/estimator.js'
import { providerByName } from '../../src/providers/index.js'

const openai = providerByName('openai')!
const anthropic = providerByName('anthropic')!

const usageOf = (promptTokens: number, completionTokens: number) => ({
  promptTokens,
  completionTokens,
  totalTokens: promptTokens + completionTokens,
})

describe('DecayingQuantile', () => {
  test('is exact to within a bucket, for what came lately', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.1, max: 10, noNaN: true }), { minLength: 1, maxLength: 100 }),
        (values) => {
          const quantile = new DecayingQuantile(1 / 16, 16, 1.02)
          for (const value of values) quantile.add(value)
          const sorted = [...values].sort((a, b) => a - b)
          expect(quantile.at(1)).toBeGreaterThanOrEqual(sorted.at(-1)! * 0.999)
          expect(quantile.at(1)).toBeLessThanOrEqual(sorted.at(-1)! * 1.021)
          expect(quantile.at(0)).toBeLessThanOrEqual(sorted[0]! * 1.021)
        },
      ),
    )
  })

  test('finds the value that 95 of 100 stay within', () => {
    const quantile = new DecayingQuantile(1, 2 ** 20, 1.05)
    for (let round = 0; round < 10; round++)
      for (let value = 1; value <= 100; value++) quantile.add(((value * 37) % 101) * 10)
    expect(quantile.at(0.95)).toBeGreaterThanOrEqual(940)
    expect(quantile.at(0.95)).toBeLessThanOrEqual(1_030)
  })

  test('forgets: after a few half-lives only the new counts, however long it has run', () => {
    const quantile = new DecayingQuantile(1, 2 ** 20, 1.05)
    for (let index = 0; index < 50_000; index++) quantile.add(1_000)
    for (let index = 0; index < 1_000; index++) quantile.add(10)
    expect(quantile.at(0.95)).toBeLessThan(11)
  })

  test('takes what lies beyond its range as the nearest that it has', () => {
    const quantile = new DecayingQuantile(1, 100, 2)
    quantile.add(0)
    expect(quantile.at(0.95)).toBe(1)
    quantile.add(1e9)
    expect(quantile.at(0.95)).toBe(128)
  })
})

describe('Calibration', () => {
  test('reserves as estimated until it has seen enough, then what 95 of 100 stay within', () => {
    const calibration = new Calibration()
    for (let index = 0; index < 19; index++) calibration.observe({ promptTokens: 100, capped: false }, usageOf(120, 50))
    expect(calibration.stats).toMatchObject({ samples: 19, promptFactor: 1, completionTokens: undefined })
    calibration.observe({ promptTokens: 100, capped: false }, usageOf(120, 50))
    expect(calibration.promptFactor).toBeGreaterThanOrEqual(1.2)
    expect(calibration.promptFactor).toBeLessThan(1.23)
    expect(calibration.completionTokens).toBeGreaterThanOrEqual(50)
    expect(calibration.completionTokens).toBeLessThan(54)
  })

  test('learns nothing of lengths from answers whose length was limited', () => {
    const calibration = new Calibration()
    for (let index = 0; index < 40; index++) calibration.observe({ promptTokens: 100, capped: true }, usageOf(50, 5))
    expect(calibration.completionTokens).toBeUndefined()
    expect(calibration.promptFactor).toBeLessThan(0.52)
  })
})

describe('Estimator', () => {
  const body = { messages: [{ role: 'user', content: 'word '.repeat(93) }] } // estimated as 100, with 7 around it

  test('reserves what the model took, where the request leaves the length open', () => {
    const estimator = new Estimator({ provider: openai, maxTokens: 100_000 })
    const reserve = (more: object = {}) => estimator.reserve('chat', { ...body, ...more }, 'gpt-4o')
    expect(reserve().tokens).toBe(100 + 1_024)
    for (let index = 0; index < 20; index++) reserve().observe(usageOf(125, 300))
    const { tokens } = reserve()
    expect(tokens).toBeGreaterThanOrEqual(125 + 300)
    expect(tokens).toBeLessThan(130 + 320)
    // What the request says itself holds.
    expect(reserve({ max_tokens: 7 }).tokens).toBeLessThan(130 + 7)
    // Another model is another matter.
    expect(estimator.reserve('chat', body, 'gpt-4.1').tokens).toBe(100 + 1_024)
    expect(estimator.stats['gpt-4o']).toMatchObject({ samples: 20, overruns: 0, overrunTokens: 0 })
  })

  test('reserves and learns the length of each of several answers', () => {
    const estimator = new Estimator({ provider: openai, maxTokens: 100_000 })
    const reserve = (n: number) => estimator.reserve('chat', { ...body, n }, 'gpt-4o')
    for (let index = 0; index < 20; index++) reserve(5).observe(usageOf(100, 5 * 300))
    for (const n of [1, 5]) {
      expect(reserve(n).tokens).toBeGreaterThanOrEqual(100 + n * 300)
      expect(reserve(n).tokens).toBeLessThan(103 + n * 320)
    }
  })

  test('counts what went over as debt', () => {
    const estimator = new Estimator({ provider: openai, maxTokens: 100_000 })
    estimator.reserve('chat', { ...body, max_tokens: 10 }, 'gpt-4o').observe(usageOf(150, 10))
    expect(estimator.stats['gpt-4o']).toMatchObject({ samples: 1, overruns: 1, overrunTokens: 50 })
  })

  test('reserves the prompt alone where answers count as they are produced', () => {
    const estimator = new Estimator({ provider: anthropic, maxTokens: 100_000 })
    for (let index = 0; index < 20; index++) {
      estimator.reserve('chat', { ...body, max_tokens: 500 }, 'claude').observe(usageOf(80, 400))
    }
    const { tokens } = estimator.reserve('chat', { ...body, max_tokens: 500 }, 'claude')
    expect(tokens).toBeGreaterThanOrEqual(80)
    expect(tokens).toBeLessThan(83)
  })

  test('never turns away what fits without a factor', () => {
    const estimator = new Estimator({ provider: openai, maxTokens: 110 })
    const reserve = () => estimator.reserve('chat', { ...body, max_tokens: 5 }, 'gpt-4o')
    for (let index = 0; index < 20; index++) reserve().observe(usageOf(150, 5))
    expect(reserve().tokens).toBe(105)
  })

  test('keeps no more models apart than a few', () => {
    const estimator = new Estimator({ provider: openai, maxTokens: 100_000 })
    for (let index = 0; index < 1_000; index++) estimator.reserve('chat', body, `model-${index}`).observe(usageOf(1, 1))
    expect(Object.keys(estimator.stats)).toHaveLength(65)
    expect(estimator.stats['(others)']?.samples).toBe(936)
  })
})
