// The OpenAI SDK, governed: completions, streams and tools stay inside the account's limits. Run after a build.
import { createHeadgate } from 'headgate'
import { startSimulator } from 'headgate/testing'
import OpenAI from 'openai'

// A stand-in for the provider, so that this runs without a key. Yours: leave it out, and baseURL with it.
const provider = await startSimulator({ profile: 'glm', concurrency: 2, latencyMs: 50 })
const gate = createHeadgate({
  redis: process.env.REDIS_URL,
  pools: {
    'glm-4-plus': {
      provider: 'glm',
      apiKey: process.env.GLM_API_KEY ?? 'any',
      baseURL: provider.baseURL,
      limits: { requests: { limit: 50, per: '1m' }, concurrency: 2 },
    },
  },
})

const client = new OpenAI({ fetch: gate.fetch('glm-4-plus'), apiKey: 'any', maxRetries: 0 })
const ask = (content) =>
  client.chat.completions.create({ model: 'glm-4-plus', messages: [{ role: 'user', content }], max_tokens: 5 })

// Eight at once, of which two may be in flight: the others wait, and none is refused.
const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => ask(`question ${i}`)))
console.log(`${answers.length} answers; most in flight ${provider.report().maxInFlight}`)

const stream = await client.chat.completions.create({
  model: 'glm-4-plus',
  messages: [{ role: 'user', content: '你好' }],
  max_tokens: 10,
  stream: true,
})
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? '')
console.log()

await gate.close()
await provider.close()
