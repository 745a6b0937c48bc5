// The real AI SDK, with a model behind the middleware; it calls the provider itself.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, stepCountIs, streamText, tool, wrapLanguageModel } from 'ai'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import type { PoolOptions } from '../../src/config.js'
import { createHeadgate } from '../../src/index.js'
import { headgateMiddleware, type MiddlewareInput } from '../../src/surfaces/integrations/ai-sdk.js'
import { cleanups, type Received, reply, simulatorOf, upstreamOf } from '../gateway/harness.js'

function modelOf(
  { baseURL }: { baseURL: string },
  pool: Partial<PoolOptions> = {},
  input: Partial<MiddlewareInput> = {},
) {
  const retry = { maxAttempts: 3, baseMs: 1, capMs: 2 }
  const main = { provider: 'glm', apiKey: 'k', baseURL, guardMs: 5, retry, ...pool }
  const gate = createHeadgate({ pools: { main } })
  cleanups.push(() => gate.close())
  const provider = createOpenAICompatible({ name: 'glm', baseURL, apiKey: 'k', includeUsage: true })
  const middleware = headgateMiddleware(gate, { pool: 'main', ...input })
  const model = wrapLanguageModel({ model: provider('glm-4'), middleware })
  const outcomes: string[] = []
  gate.on('outcome', ({ status, tenant, attempts }) => outcomes.push(`${tenant} ${status} ${attempts}`))
  return { gate, model, outcomes }
}

const CALL = { prompt: 'hello', maxRetries: 0, maxOutputTokens: 20 }
const chunk = (delta: object, finish_reason: string | null = null) =>
  `data: ${JSON.stringify({ id: 'c', choices: [{ index: 0, delta, finish_reason }] })}\n\n`

function begin({ response }: Received) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(chunk({ role: 'assistant', content: 'hi' }))
  return response
}

describe('generateText', () => {
  test('is governed and settled with the usage that the model reports', async () => {
    const limits = { tokens: '10000/1h', concurrency: 1 }
    const { model, gate, outcomes } = modelOf(await simulatorOf(), { limits }, { tenant: 'web' })
    const { text, usage } = await generateText({ ...CALL, model })
    expect(text.trim()).toBe('word '.repeat(20).trim())
    expect(usage.outputTokens).toBe(20)
    expect(outcomes).toEqual(['web completed 1'])
    await vi.waitFor(async () => {
      const [group] = await gate.usage()
      expect(group!.limits[0]).toMatchObject({ used: usage.totalTokens })
    })
  })

  test('is retried through the dispatcher, not by the SDK', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302', 2)
    const { model, outcomes } = modelOf(simulator)
    await generateText({ ...CALL, model })
    expect(outcomes).toEqual(['default completed 3'])
  })

  test('fails with the error of the gate, whose cause is the SDK’s', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1113')
    const { model } = modelOf(simulator)
    await expect(generateText({ ...CALL, model, maxRetries: 2 })).rejects.toMatchObject({
      code: 'INSUFFICIENT_BALANCE',
      cause: { statusCode: 429 },
    })
    expect(simulator.log).toHaveLength(1)
  })

  test('calls tools, each step governed', async () => {
    const call = { id: 'call-1', type: 'function', function: { name: 'now', arguments: '{}' } }
    const answers = [
      { message: { role: 'assistant', content: null, tool_calls: [call] }, finish_reason: 'tool_calls' },
      { message: { role: 'assistant', content: 'noon' }, finish_reason: 'stop' },
    ]
    const upstream = await upstreamOf((received) => {
      const choice = { index: 0, ...answers[upstream.received.length - 1] }
      reply(received, 200, { id: 'c', choices: [choice], usage: { prompt_tokens: 1, completion_tokens: 1 } })
    })
    const { model, outcomes } = modelOf(upstream)
    const now = tool({ inputSchema: z.object({}), execute: async () => '12:00' })
    const { text } = await generateText({ ...CALL, model, tools: { now }, stopWhen: stepCountIs(2) })
    expect(text).toBe('noon')
    expect(outcomes).toEqual(['default completed 1', 'default completed 1'])
    expect(JSON.stringify(upstream.received[1]!.body.messages)).toContain('12:00')
  })

  test('an abort is thrown as the SDK knows it, and cuts the call', async () => {
    const upstream = await upstreamOf()
    const { model, outcomes } = modelOf(upstream)
    const controller = new AbortController()
    const call = generateText({ ...CALL, model, abortSignal: controller.signal })
    const { closed } = await upstream.arrival(0)
    controller.abort()
    await expect(call).rejects.toMatchObject({ name: 'AbortError' })
    await closed
    expect(outcomes).toEqual(['default cancelled 1'])
  })
})

describe('streamText', () => {
  test('holds its slot to its end, and is settled then', async () => {
    const limits = { tokens: '10000/1h', concurrency: 1 }
    const upstream = await upstreamOf()
    const { model, gate, outcomes } = modelOf(upstream, { limits })
    const { textStream } = streamText({ ...CALL, model })
    const texts = textStream[Symbol.asyncIterator]()
    const first = texts.next()
    const response = begin(await upstream.arrival(0))
    expect(await first).toMatchObject({ value: 'hi' })
    expect(gate.stats().pools.main!.states).toEqual({ calling: 1 })
    const usage = { prompt_tokens: 100, completion_tokens: 200, total_tokens: 300 }
    response.end(`${chunk({}, 'stop').replace('}\n\n', `,"usage":${JSON.stringify(usage)}}\n\n`)}data: [DONE]\n\n`)
    while (!(await texts.next()).done);
    await vi.waitFor(async () => {
      const [group] = await gate.usage()
      expect(group!.limits.map(({ used }) => used)).toEqual([300, 0])
    })
    expect(outcomes).toEqual(['default completed 1'])
  })

  test('of the simulator, with a retry before it begins', async () => {
    const simulator = await simulatorOf({ profile: 'deepseek' })
    simulator.failNext('503')
    const { model, outcomes } = modelOf(simulator, { provider: 'deepseek' })
    const result = streamText({ ...CALL, model })
    let text = ''
    for await (const part of result.textStream) text += part
    expect(text).toBe('word '.repeat(20))
    expect((await result.usage).outputTokens).toBe(20)
    expect(outcomes).toEqual(['default completed 2'])
  })

  test('is not retried once it has begun', async () => {
    const upstream = await upstreamOf()
    const { model, outcomes } = modelOf(upstream)
    const errors: unknown[] = []
    const { textStream } = streamText({ ...CALL, model, onError: ({ error }) => void errors.push(error) })
    const read = (async () => {
      for await (const _ of textStream);
    })()
    const response = begin(await upstream.arrival(0))
    response.write('', () => response.socket!.destroy())
    await read.catch(() => {})
    await vi.waitFor(() => expect(outcomes).toEqual(['default failed 1']))
    expect(errors).toHaveLength(1)
    expect(upstream.received).toHaveLength(1)
  })

  test('its deadline is told to its reader', async () => {
    const upstream = await upstreamOf()
    const { model, outcomes } = modelOf(upstream, {}, { deadline: '1s' })
    const errors: unknown[] = []
    const { textStream } = streamText({ ...CALL, model, onError: ({ error }) => void errors.push(error) })
    const read = (async () => {
      for await (const _ of textStream);
    })()
    const received = await upstream.arrival(0)
    begin(received)
    await read
    await received.closed
    expect(errors).toMatchObject([{ code: 'DEADLINE_EXCEEDED' }])
    expect(outcomes).toEqual(['default expired 1'])
  })

  test.each(['abort', 'leave'])('a reader that is done (%s) cuts the call', async (how) => {
    const upstream = await upstreamOf()
    const { model, outcomes } = modelOf(upstream)
    const controller = new AbortController()
    void upstream.arrival(0).then(begin)
    const { stream } = await model.doStream({
      prompt: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }],
      abortSignal: controller.signal,
    })
    const reader = stream.getReader()
    await reader.read()
    if (how === 'leave') await reader.cancel()
    else controller.abort()
    await upstream.received[0]!.closed
    await vi.waitFor(() => expect(outcomes).toEqual(['default cancelled 1']))
    if (how === 'leave') return
    const drain = async () => {
      while (!(await reader.read()).done);
    }
    await expect(drain()).rejects.toMatchObject({ name: 'AbortError' })
  })
})
