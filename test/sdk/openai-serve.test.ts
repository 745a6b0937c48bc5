// The real OpenAI SDK on `headgate serve`, for what is no chat; the provider is simulated, and every token of it counted.
import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { simulatorOf, startGateway } from '../gateway/harness.js'

async function gatewayOf() {
  const simulator = await simulatorOf({ profile: 'openai', tokens: [{ limit: 100_000, windowMs: 60_000 }] })
  const limits = { tokens: '100000/1m', concurrency: 4 }
  const openai = { provider: 'openai', apiKey: 'k', baseURL: simulator.baseURL, models: ['e', 'r'], limits, guardMs: 5 }
  const gateway = await startGateway(simulator, { pools: { openai } })
  const client = new OpenAI({ apiKey: 'any', baseURL: `${gateway.url}/v1`, maxRetries: 0 })
  const stats = async () => {
    const response = await fetch(`${gateway.url}/api/v1/monitoring/stats`)
    // biome-ignore lint/suspicious/noExplicitAny: its schema has a test of its own.
    return ((await response.json()) as any).pools.openai
  }
  return { client, simulator, gateway, stats }
}

test('embeddings: vectors as they were asked for, and the prompt as all that was used', async () => {
  const { client, simulator, gateway, stats } = await gatewayOf()
  const { data, response } = await client.embeddings
    .create({ model: 'e', input: ['你好世界', 'word'], dimensions: 64 })
    .withResponse()
  expect(data.data.map(({ embedding }) => embedding.length)).toEqual([64, 64])
  expect(data.usage).toEqual({ prompt_tokens: 5, total_tokens: 5 })
  expect(response.headers.get('x-headgate-outcome')).toBe('completed')
  expect(simulator.log).toMatchObject([{ status: 200, tokens: 5 }])
  expect(await stats()).toMatchObject({ completed: 1, tokens: { used: 5 } })
  expect(gateway.log.requests()).toMatchObject([{ pool: 'openai', promptTokens: 5 }])
})

test('responses, whole and streamed: usage is settled from the body and from the last event', async () => {
  const { client, simulator, stats } = await gatewayOf()
  const body = { model: 'r', input: '你好世界', instructions: '你好', max_output_tokens: 30 }
  const whole = await client.responses.create(body)
  expect(whole.usage).toMatchObject({ input_tokens: 6, output_tokens: 30, total_tokens: 36 })
  expect((await stats()).tokens.used).toBe(36)
  const types: string[] = []
  let last: OpenAI.Responses.ResponseStreamEvent | undefined
  for await (const event of await client.responses.create({ ...body, stream: true })) {
    types.push(event.type)
    last = event
  }
  expect(types.slice(0, 2)).toEqual(['response.created', 'response.in_progress'])
  expect(last).toMatchObject({ type: 'response.completed', response: { usage: { total_tokens: 36 } } })
  expect(await stats()).toMatchObject({ completed: 2, tokens: { used: 72 } })
  const streamed = await client.responses.stream(body).finalResponse()
  expect(streamed.output_text.trimEnd()).toBe(whole.output_text)
  expect(simulator.log.map(({ status }) => status)).toEqual([200, 200, 200])
})
