// The AI SDK's next generation: the same middleware, whose models count tokens in another shape.
import { generateText, streamText, wrapLanguageModel } from 'ai-6'
import { createOpenAICompatible } from 'openai-compatible-2'
import { expect, test, vi } from 'vitest'
import { createHeadgate } from '../../src/index.js'
import { headgateMiddleware } from '../../src/surfaces/integrations/ai-sdk.js'
import { cleanups, simulatorOf } from '../gateway/harness.js'

test('the AI SDK 6 is governed, and settled with the usage that its model reports', async () => {
  const { baseURL } = await simulatorOf({ profile: 'deepseek' })
  const limits = { tokens: '10000/1h', concurrency: 1 }
  const pool = { provider: 'deepseek', apiKey: 'k', baseURL, limits, retry: { baseMs: 1, capMs: 2 } }
  const gate = createHeadgate({ pools: { main: pool } })
  cleanups.push(() => gate.close())
  const provider = createOpenAICompatible({ name: 'deepseek', baseURL, apiKey: 'k', includeUsage: true })
  // Its types are those of the other generation.
  const middleware = headgateMiddleware(gate, { pool: 'main' }) as never
  const model = wrapLanguageModel({ model: provider('deepseek-chat'), middleware })
  const call = { model, prompt: 'hello', maxRetries: 0, maxOutputTokens: 20 }
  const { text, usage } = await generateText(call)
  expect(text.trim()).toBe('word '.repeat(20).trim())
  const streamed = streamText(call)
  let texts = ''
  for await (const part of streamed.textStream) texts += part
  expect(texts).toBe('word '.repeat(20))
  const used = usage.totalTokens! + (await streamed.usage).totalTokens!
  await vi.waitFor(async () => {
    expect((await gate.usage())[0]!.limits.map((limit) => limit.used)).toEqual([used, 0])
  })
  expect(gate.stats().pools.main!.outcomes.completed).toBe(2)
})
