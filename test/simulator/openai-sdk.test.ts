// What is no chat, on OpenAI's wire: the real SDK reads it, straight from the simulator.
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import type { SimulatorOptions } from '../../src/testing/index.js'
import { HOUR_MS, start } from './harness.js'

async function clientOf(options: Partial<SimulatorOptions> = {}) {
  const simulator = await start('openai', options)
  const client = new OpenAI({ apiKey: 'key', baseURL: simulator.baseURL, maxRetries: 0 })
  return { simulator, client }
}

describe('embeddings', () => {
  test('a unit vector for each input, the same for the same, as numbers or as bytes; only the prompt counts', async () => {
    const { client, simulator } = await clientOf({ tokens: [{ limit: 100, windowMs: HOUR_MS }] })
    const body = { model: 'text-embedding-3-small', input: ['你好世界', 'word'], dimensions: 32 }
    const asBytes = await client.embeddings.create(body)
    const asNumbers = await client.embeddings.create({ ...body, encoding_format: 'float' })
    expect(asBytes).toMatchObject({
      object: 'list',
      model: 'text-embedding-3-small',
      data: [
        { object: 'embedding', index: 0 },
        { object: 'embedding', index: 1 },
      ],
      usage: { prompt_tokens: 5, total_tokens: 5 },
    })
    const vectors = asNumbers.data.map(({ embedding }) => embedding)
    expect(asBytes.data.map(({ embedding }) => [...embedding])).toEqual(vectors)
    expect(vectors[0]).not.toEqual(vectors[1])
    for (const vector of vectors) expect(Math.hypot(...vector)).toBeCloseTo(1, 5)
    expect(vectors.map(({ length }) => length)).toEqual([32, 32])
    expect(simulator.log.map(({ tokens }) => tokens)).toEqual([5, 5])
  })

  test('token numbers count one each, and 1536 dimensions are the default', async () => {
    const { client } = await clientOf()
    const one = await client.embeddings.create({ model: 'm', input: [1, 2, 3] })
    expect([one.data.length, one.data[0]!.embedding.length, one.usage.prompt_tokens]).toEqual([1, 1536, 3])
    const two = await client.embeddings.create({ model: 'm', input: [[1, 2], [3]], dimensions: 2 })
    expect([two.data.length, two.usage.prompt_tokens]).toEqual([2, 3])
  })

  test.each([
    [{ input: '' }],
    [{ input: [] }],
    [{ input: ['x', ''] }],
    [{ input: 'x', dimensions: 0 }],
    [{ model: 7 }],
  ])('%j is refused', async (body) => {
    const { client } = await clientOf()
    const call = client.embeddings.create({ model: 'm', input: 'x', ...body } as OpenAI.EmbeddingCreateParams)
    await expect(call).rejects.toBeInstanceOf(OpenAI.BadRequestError)
  })

  test('limits and faults are those of every call', async () => {
    const { client, simulator } = await clientOf({ requests: [{ limit: 2, windowMs: HOUR_MS }] })
    simulator.failNext('503')
    const call = () => client.embeddings.create({ model: 'm', input: 'x' })
    await expect(call()).rejects.toMatchObject({ status: 503 })
    expect((await call()).data).toHaveLength(1)
    await expect(call()).rejects.toMatchObject({ status: 429, code: 'rate_limit_exceeded' })
  })
})

describe('responses', () => {
  const BODY = { model: 'gpt-5', input: '你好世界', instructions: '你好', max_output_tokens: 20 }
  const USAGE = { input_tokens: 6, output_tokens: 20, total_tokens: 26 }
  const TEXT = 'word '.repeat(20).trimEnd()

  test('whole: text, usage, and what was asked', async () => {
    const { client, simulator } = await clientOf({ tokens: [{ limit: 100, windowMs: HOUR_MS }] })
    const response = await client.responses.create(BODY)
    expect(response).toMatchObject({ object: 'response', status: 'completed', output_text: TEXT, usage: USAGE })
    expect(response).toMatchObject({ model: 'gpt-5', instructions: '你好', max_output_tokens: 20 })
    // The answer's length counts up front, as it does for chats.
    expect(simulator.log).toMatchObject([{ promptTokens: 6, tokens: 26 }])
  })

  test('streamed: typed events in order, which the SDK puts together', async () => {
    const { client } = await clientOf()
    const events: OpenAI.Responses.ResponseStreamEvent[] = []
    const stream = client.responses.stream(BODY).on('event', (event) => events.push(event))
    const response = await stream.finalResponse()
    expect(response).toMatchObject({ status: 'completed', output_text: expect.any(String), usage: USAGE })
    expect(response.output_text.trimEnd()).toBe(TEXT)
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index))
    const types = events.map(({ type }) => type.replace('response.', ''))
    expect([...new Set(types)]).toEqual([
      'created',
      'in_progress',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'completed',
    ])
    const words = events.flatMap((event) => (event.type === 'response.output_text.delta' ? [event.delta] : []))
    expect(words.length).toBeGreaterThan(1)
    expect(words.join('').trimEnd()).toBe(TEXT)
    expect(events[0]).toMatchObject({ response: { status: 'in_progress', output: [], usage: null } })
  })

  test('tools: calls, their results as input, whole and streamed', async () => {
    const toolCalls = [{ name: 'weather', arguments: { city: '成都' } }]
    const { client } = await clientOf({ answer: ({ tools }) => (tools ? { toolCalls } : '晴') })
    const tools = [{ type: 'function' as const, name: 'weather', parameters: {}, strict: false }]
    const asked = { model: 'm', input: '成都天气', tools }
    const expected = [{ type: 'function_call', name: 'weather', arguments: '{"city":"成都"}', status: 'completed' }]
    const whole = await client.responses.create(asked)
    expect(whole.output).toMatchObject(expected)
    expect((await client.responses.stream(asked).finalResponse()).output).toMatchObject(expected)
    const [call] = whole.output
    if (call?.type !== 'function_call') throw new Error('expected a call of a tool')
    const result = { type: 'function_call_output' as const, call_id: call.call_id, output: '晴天' }
    const answer = await client.responses.create({ model: 'm', input: [call, result] })
    expect([answer.output_text, answer.usage?.input_tokens]).toEqual(['晴', 8])
  })

  test('an answer that was cut says so', async () => {
    const { client } = await clientOf({ answer: () => '一二三四五' })
    const body = { model: 'm', input: 'x', max_output_tokens: 3 }
    const expected = {
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output_text: '一二三',
    }
    expect(await client.responses.create(body)).toMatchObject(expected)
    expect(await client.responses.stream(body).finalResponse()).toMatchObject(expected)
  })

  test('an error in the middle of a stream is its last event', async () => {
    const { client, simulator } = await clientOf()
    simulator.failNext('late-503')
    const seen: OpenAI.Responses.ResponseStreamEvent[] = []
    for await (const event of await client.responses.create({ ...BODY, stream: true })) seen.push(event)
    expect(seen[0]).toMatchObject({ type: 'response.created', sequence_number: 0 })
    const last = { type: 'error', code: 'overloaded', sequence_number: seen.length - 1 }
    expect(seen.at(-1)).toMatchObject({ ...last, message: expect.stringContaining('overloaded') })
  })
})
