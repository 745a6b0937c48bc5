// LangChain.js, governed: its OpenAI client on a governed fetch. Run after a build.
import { ChatOpenAI } from '@langchain/openai'
import { createHeadgate } from 'headgate'
import { startSimulator } from 'headgate/testing'

// A stand-in for the provider, so that this runs without a key. Yours: leave it out, and baseURL with it.
const provider = await startSimulator({ profile: 'glm', concurrency: 2, latencyMs: 50 })
const gate = createHeadgate({
  redis: process.env.REDIS_URL,
  pools: {
    'glm-4-plus': {
      provider: 'glm',
      apiKey: process.env.GLM_API_KEY ?? 'any',
      baseURL: provider.baseURL,
      limits: { concurrency: 2 },
    },
  },
})

const chat = new ChatOpenAI({
  model: 'glm-4-plus',
  apiKey: 'any',
  maxRetries: 0,
  maxTokens: 5,
  configuration: { fetch: gate.fetch('glm-4-plus') },
})

const answers = await chat.batch(['one', 'two', 'three', 'four', 'five'])
console.log(`${answers.length} answers; most in flight ${provider.report().maxInFlight}`)
for await (const { content } of await chat.stream('你好')) process.stdout.write(content)
console.log()

await gate.close()
await provider.close()
