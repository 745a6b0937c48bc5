import { describe, expect, onTestFinished, test } from 'vitest'
import { createHeadgate } from '../src/headgate.js'
import { startSimulator } from '../src/testing/index.js'

describe('estimates of a gate', () => {
  test('follow what the model takes: less is reserved, and shown', async () => {
    const simulator = await startSimulator({ profile: 'openai' })
    onTestFinished(() => simulator.close())
    const pool = { provider: 'openai', apiKey: 'any', baseURL: simulator.baseURL, tokenizer: 'chars' } as const
    const gate = createHeadgate({ pools: { 'gpt-4o': { ...pool, limits: { tokens: '1000000/1m' } } } })
    onTestFinished(() => gate.close())
    const messages = [{ role: 'user', content: 'hello there' }]
    const outcomes = []
    for (let index = 0; index < 22; index++) {
      const stream = index % 2 === 1
      const request = await gate.spawn({ pool: 'gpt-4o', messages, stream })
      if (stream) for await (const _ of request.chunks);
      outcomes.push(await request.outcome)
    }
    const [first, last] = [outcomes[0]!.usage, outcomes.at(-1)!.usage]
    expect(first.estimatedTokens).toBeGreaterThan(1_024)
    expect(last.estimatedTokens).toBeGreaterThanOrEqual(last.totalTokens!)
    expect(last.estimatedTokens).toBeLessThan(last.totalTokens! + 3)
    expect(gate.stats().pools['gpt-4o']!.estimates['gpt-4o']).toMatchObject({
      samples: 22,
      promptFactor: expect.closeTo(first.promptTokens! / (first.estimatedTokens - 1_024), 1),
      completionTokens: expect.any(Number),
      overruns: 0,
    })
  })

  test('go by what the caller says where he says it', async () => {
    const simulator = await startSimulator({ profile: 'openai' })
    onTestFinished(() => simulator.close())
    const gate = createHeadgate({ pools: { a: { provider: 'openai', apiKey: 'any', baseURL: simulator.baseURL } } })
    onTestFinished(() => gate.close())
    const request = await gate.spawn({ pool: 'a', messages: [{ role: 'user', content: 'x' }], estimatedTokens: 77 })
    expect((await request.outcome).usage.estimatedTokens).toBe(77)
    expect(gate.stats().pools.a!.estimates).toEqual({})
  })
})
