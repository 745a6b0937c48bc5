// The AI SDK, governed: any of its models behind a middleware. Run after a build.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText, wrapLanguageModel } from 'ai'
import { createHeadgate } from 'headgate'
import { headgateMiddleware } from 'headgate/ai-sdk'
import { startSimulator } from 'headgate/testing'

// A stand-in for the provider, so that this runs without a key.
const provider = await startSimulator({ profile: 'deepseek', concurrency: 2, latencyMs: 50 })
const { baseURL } = provider
const apiKey = process.env.DEEPSEEK_API_KEY ?? 'any'
const gate = createHeadgate({
  redis: process.env.REDIS_URL,
  pools: { deepseek: { provider: 'deepseek', apiKey, baseURL, limits: { concurrency: 2 } } },
})

const model = wrapLanguageModel({
  model: createOpenAICompatible({ name: 'deepseek', baseURL, apiKey })('deepseek-chat'),
  middleware: headgateMiddleware(gate, { pool: 'deepseek', tenant: 'web', deadline: '30s' }),
})

// The gate retries, so the SDK need not.
const { text } = await generateText({ model, prompt: 'hello', maxOutputTokens: 5, maxRetries: 0 })
console.log(text)

const { textStream } = streamText({ model, prompt: '你好', maxOutputTokens: 10, maxRetries: 0 })
for await (const part of textStream) process.stdout.write(part)
console.log()

console.log(gate.stats().pools.deepseek.outcomes)
await gate.close()
await provider.close()
