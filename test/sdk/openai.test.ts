// The real OpenAI SDK on a governed fetch. What it throws and yields is its own affair: that is the point.
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import type { GateOptions, PoolOptions } from '../../src/config.js'
import { createHeadgate } from '../../src/index.js'
import { COMPLETION, cleanups, reply, simulatorOf, upstreamOf } from '../gateway/harness.js'

const MESSAGES = [{ role: 'user', content: 'hello' }] as const
const CHAT = { model: 'm', messages: [...MESSAGES] }

function clientOf({ baseURL }: { baseURL: string }, pool: Partial<PoolOptions> = {}, more: Partial<GateOptions> = {}) {
  const retry = { maxAttempts: 1, baseMs: 1, capMs: 2 }
  const main = { provider: 'openai', apiKey: 'pool-key', baseURL, guardMs: 5, retry, models: ['m'], ...pool }
  const gate = createHeadgate({ pools: { main }, ...more })
  cleanups.push(() => gate.close())
  const client = new OpenAI({ apiKey: 'sdk-key', fetch: gate.fetch('main'), maxRetries: 0 })
  return { gate, client }
}

describe('chat completions', () => {
  test('a completion, with the key of the pool and the settings of the SDK', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, COMPLETION))
    const { client, gate } = clientOf(upstream)
    const { data, response } = await client.chat.completions.create({ ...CHAT, temperature: 0.1 }).withResponse()
    expect(data).toMatchObject(COMPLETION)
    expect(response.headers.get('x-headgate-outcome')).toBe('completed')
    expect(upstream.received[0]).toMatchObject({
      body: { ...CHAT, temperature: 0.1 },
      headers: { authorization: 'Bearer pool-key' },
    })
    expect(gate.stats().pools.main!.outcomes.completed).toBe(1)
  })

  test('headers of Headgate and of the account reach whom they are for', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, COMPLETION))
    const { gate } = clientOf(upstream)
    const tenants: string[] = []
    gate.on('transition', ({ tenant }) => tenants.push(tenant))
    const client = new OpenAI({
      apiKey: 'sdk-key',
      organization: 'org-1',
      fetch: gate.fetch('main'),
      maxRetries: 0,
      defaultHeaders: { 'x-headgate-tenant': 'web' },
    })
    await client.chat.completions.create(CHAT)
    expect(new Set(tenants)).toEqual(new Set(['web']))
    expect(upstream.received[0]!.headers['openai-organization']).toBe('org-1')
  })

  test.each(['openai', 'glm'] as const)('a stream of %s', async (profile) => {
    const { client } = clientOf(await simulatorOf({ profile }), { provider: profile })
    const stream = await client.chat.completions.create({ ...CHAT, stream: true, max_tokens: 20 })
    let text = ''
    for await (const chunk of stream) {
      expect(chunk.choices).toHaveLength(1)
      text += chunk.choices[0]!.delta.content ?? ''
    }
    expect(text).toBe('word '.repeat(20))
  })

  test('a stream with usage, for who asks', async () => {
    const { client } = clientOf(await simulatorOf({ profile: 'openai' }))
    const options = { stream: true, stream_options: { include_usage: true }, max_tokens: 20 } as const
    const usages = []
    for await (const { usage } of await client.chat.completions.create({ ...CHAT, ...options })) {
      if (usage) usages.push(usage.completion_tokens)
    }
    expect(usages).toEqual([20])
  })

  test('tool calls, whole and streamed', async () => {
    const call = { id: 'call-1', type: 'function', function: { name: 'now', arguments: '{}' } }
    const upstream = await upstreamOf((received) => {
      const { response, body } = received
      if (!body.stream) {
        const message = { role: 'assistant', content: null, tool_calls: [call] }
        reply(received, 200, { ...COMPLETION, choices: [{ index: 0, message, finish_reason: 'tool_calls' }] })
        return
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const pieces = [{ ...call, function: { name: 'now', arguments: '{' } }, { function: { arguments: '}' } }]
      for (const piece of pieces) {
        const choices = [
          { index: 0, delta: { role: 'assistant', tool_calls: [{ index: 0, ...piece }] }, finish_reason: null },
        ]
        response.write(`data: ${JSON.stringify({ id: 'c', choices })}\n\n`)
      }
      const choices = [{ index: 0, delta: {}, finish_reason: 'tool_calls' }]
      response.end(`data: ${JSON.stringify({ id: 'c', choices })}\n\ndata: [DONE]\n\n`)
    })
    const { client } = clientOf(upstream)
    const tools = [{ type: 'function' as const, function: { name: 'now', parameters: { type: 'object' } } }]
    const whole = await client.chat.completions.create({ ...CHAT, tools })
    expect(whole.choices[0]!.message.tool_calls).toEqual([call])
    const streamed = await client.chat.completions.stream({ ...CHAT, tools }).finalChatCompletion()
    expect(streamed.choices[0]!.message.tool_calls).toMatchObject([{ id: 'call-1', function: { arguments: '{}' } }])
    expect(upstream.received.map(({ body }) => body.tools)).toEqual([tools, tools])
  })

  test('an error of the provider is the SDK’s own, after the attempts that were due', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302', 4)
    const retry = { maxAttempts: 2, baseMs: 1, capMs: 2 }
    const { client } = clientOf(simulator, { provider: 'glm', retry })
    await expect(client.chat.completions.create(CHAT)).rejects.toMatchObject({ status: 429, code: '1302' })
    await expect(client.chat.completions.create({ ...CHAT, stream: true })).rejects.toMatchObject({ status: 429 })
    expect(simulator.log).toHaveLength(4)
  })

  test('an error in the middle of a stream is thrown out of the loop', async () => {
    const upstream = await upstreamOf(({ response }) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n')
      response.write('data: {"error":{"code":"1305","message":"busy"}}\n\n')
    })
    const { client } = clientOf(upstream, { provider: 'glm' })
    const seen: unknown[] = []
    const read = async () => {
      for await (const chunk of await client.chat.completions.create({ ...CHAT, stream: true })) seen.push(chunk)
    }
    await expect(read()).rejects.toMatchObject({ code: '1305' })
    expect(seen).toHaveLength(1)
  })

  test('an abort before the answer, and one in the middle of a stream', async () => {
    const upstream = await upstreamOf()
    const { client, gate } = clientOf(upstream)
    const controller = new AbortController()
    const call = client.chat.completions.create(CHAT, { signal: controller.signal })
    const first = await upstream.arrival(0)
    controller.abort()
    await expect(call).rejects.toBeInstanceOf(OpenAI.APIUserAbortError)
    await first.closed
    const streaming = client.chat.completions.create({ ...CHAT, stream: true })
    const { response, closed } = await upstream.arrival(1)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n')
    for await (const _ of await streaming) break
    await closed
    expect(gate.stats().pools.main!.outcomes.cancelled).toBe(2)
  })

  test('an SDK that retries on its own is warned of, once', async () => {
    const simulator = await simulatorOf({ profile: 'openai' })
    simulator.failNext('500', 4)
    const { gate } = clientOf(simulator)
    const client = new OpenAI({ apiKey: 'k', fetch: gate.fetch('main'), maxRetries: 1 })
    const warnings: string[] = []
    const listen = ({ message }: Error) => warnings.push(message)
    process.on('warning', listen)
    cleanups.push(() => process.off('warning', listen))
    for (const _ of [1, 2]) await expect(client.chat.completions.create(CHAT)).rejects.toMatchObject({ status: 500 })
    // Warnings come a tick later.
    await new Promise((resolve) => setImmediate(resolve))
    expect(warnings).toEqual([expect.stringContaining('maxRetries')])
  })
})

describe('other calls', () => {
  test('embeddings: usage is settled, the answer is the provider’s', async () => {
    const answer = {
      object: 'list',
      data: [{ object: 'embedding', index: 0, embedding: [0.5] }],
      model: 'm',
      usage: { prompt_tokens: 3, total_tokens: 3 },
    }
    const upstream = await upstreamOf((received) => reply(received, 200, answer))
    const { client, gate } = clientOf(upstream)
    const estimates: unknown[] = []
    gate.on('outcome', (event) => estimates.push(event.status))
    const result = await client.embeddings.create({ model: 'm', input: ['one', 'two'], encoding_format: 'float' })
    expect(result.data[0]!.embedding).toEqual([0.5])
    expect(upstream.received[0]!.path).toBe('/v4/embeddings')
    expect(estimates).toEqual(['completed'])
  })

  test('a message in words stands in for no vector', async () => {
    const upstream = await upstreamOf((received) => reply(received, 500, { error: { message: 'no' } }))
    const { client } = clientOf(upstream, { degradedMessage: 'busy' })
    await expect(client.embeddings.create({ model: 'm', input: 'one' })).rejects.toMatchObject({ status: 500 })
  })

  test('responses, whole and streamed', async () => {
    const usage = { input_tokens: 3, output_tokens: 4, total_tokens: 7 }
    const done = { id: 'r1', object: 'response', status: 'completed', output: [], usage }
    const upstream = await upstreamOf((received) => {
      if (!received.body.stream) return reply(received, 200, done)
      const { response } = received
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const event = (type: string, more: object) =>
        response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`)
      event('response.created', { response: { ...done, usage: null } })
      event('response.output_text.delta', { delta: 'hi' })
      event('response.completed', { response: done })
      response.end()
    })
    const { client, gate } = clientOf(upstream, { limits: { tokens: '100000/1h' } })
    expect(await client.responses.create({ model: 'm', input: 'hello', max_output_tokens: 9 })).toMatchObject(done)
    const types: string[] = []
    for await (const { type } of await client.responses.create({ model: 'm', input: 'hello', stream: true })) {
      types.push(type)
    }
    expect(types).toEqual(['response.created', 'response.output_text.delta', 'response.completed'])
    expect(upstream.received.map(({ path }) => path)).toEqual(['/v4/responses', '/v4/responses'])
    expect(gate.stats().pools.main!.outcomes.completed).toBe(2)
  })

  test('what is no such call is answered with 404, and goes nowhere', async () => {
    const upstream = await upstreamOf()
    const { client } = clientOf(upstream)
    await expect(client.models.list()).rejects.toMatchObject({ status: 404 })
    await expect(client.audio.speech.create({ model: 'm', input: 'x', voice: 'v' })).rejects.toMatchObject({
      status: 404,
    })
    expect(upstream.received).toEqual([])
  })
})
