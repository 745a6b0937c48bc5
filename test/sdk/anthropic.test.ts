// The real Anthropic SDK on a governed fetch, with a provider that speaks its wire.
import Anthropic from '@anthropic-ai/sdk'
import { describe, expect, test } from 'vitest'
import type { PoolOptions } from '../../src/config.js'
import { createHeadgate, type Provider } from '../../src/index.js'
import { failureOf } from '../../src/providers/provider.js'
import { cleanups, type Received, reply, startGateway, upstreamOf } from '../gateway/harness.js'

const PROVIDER: Provider = {
  name: 'anthropic-like',
  baseURL: undefined,
  chatPath: '/messages',
  limitsConcurrency: false,
  refundsEstimate: true,
  authHeaders: (apiKey) => ({ 'x-api-key': apiKey }),
  classify: ({ status, body }) => {
    const { error } = Object(body) as { error?: { type: string; message: string } }
    if (!error && status < 400) return undefined
    return failureOf('OVL', error?.message ?? 'failed', { status, body, providerCode: error?.type ?? '' })
  },
  usage: (body) => {
    const { usage = Object(body).message?.usage } = Object(body)
    if (!usage) return undefined
    const [promptTokens, completionTokens] = [usage.input_tokens ?? 0, usage.output_tokens ?? 0]
    return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens }
  },
}
const CALL = { model: 'c', max_tokens: 9, messages: [{ role: 'user' as const, content: 'hello' }] }
const MESSAGE = {
  id: 'msg-1',
  type: 'message',
  role: 'assistant',
  model: 'c',
  content: [{ type: 'text', text: 'hi' }],
  stop_reason: 'end_turn',
  usage: { input_tokens: 3, output_tokens: 2 },
}

function clientOf({ baseURL }: { baseURL: string }, pool: Partial<PoolOptions> = {}) {
  const retry = { maxAttempts: 2, baseMs: 1, capMs: 2 }
  const main = { provider: PROVIDER, apiKey: 'pool-key', baseURL, guardMs: 5, retry, models: ['c'], ...pool }
  const gate = createHeadgate({ pools: { main } })
  cleanups.push(() => gate.close())
  return { gate, client: new Anthropic({ apiKey: 'sdk-key', fetch: gate.fetch('main'), maxRetries: 0 }) }
}

function begin({ response }: Received) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (type: string, more: object = {}) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...more })}\n\n`)
  send('message_start', { message: { ...MESSAGE, content: [], stop_reason: null } })
  send('content_block_start', { index: 0, content_block: { type: 'text', text: '' } })
  send('content_block_delta', { index: 0, delta: { type: 'text_delta', text: 'hi' } })
  return { send, end: () => response.end() }
}

function finish({ send, end }: ReturnType<typeof begin>) {
  send('content_block_stop', { index: 0 })
  send('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { input_tokens: 3, output_tokens: 2 } })
  send('message_stop')
  end()
}

describe('messages', () => {
  test('a message, with the key of the pool and the version that the SDK speaks', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, MESSAGE))
    const { client } = clientOf(upstream)
    expect(await client.messages.create(CALL)).toMatchObject(MESSAGE)
    const { path, headers, body } = upstream.received[0]!
    expect([path, headers['x-api-key'], body]).toEqual(['/v4/messages', 'pool-key', CALL])
    expect(headers['anthropic-version']).toMatch(/^\d{4}-/)
  })

  test('a stream, event by event', async () => {
    const upstream = await upstreamOf((received) => finish(begin(received)))
    const { client } = clientOf(upstream)
    const message = await client.messages.stream(CALL).finalMessage()
    expect(message).toMatchObject({ content: [{ text: 'hi' }], stop_reason: 'end_turn', usage: { output_tokens: 2 } })
  })

  test('an error in the first event is a failed attempt; in the middle it is thrown out of the loop', async () => {
    const error = { error: { type: 'overloaded_error', message: 'Overloaded' } }
    const upstream = await upstreamOf((received) => {
      if (upstream.received.length > 1) begin(received).send('error', error)
      else {
        received.response.writeHead(200, { 'content-type': 'text/event-stream' })
        received.response.end(`event: error\ndata: ${JSON.stringify({ type: 'error', ...error })}\n\n`)
      }
    })
    const { client } = clientOf(upstream)
    const types: string[] = []
    const read = async () => {
      for await (const { type } of await client.messages.create({ ...CALL, stream: true })) types.push(type)
    }
    await expect(read()).rejects.toMatchObject({ error: { error: { type: 'overloaded_error' } } })
    expect(types).toEqual(['message_start', 'content_block_start', 'content_block_delta'])
    expect(upstream.received).toHaveLength(2)
  })

  test('the degraded message, whole and streamed', async () => {
    const failing = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
    const upstream = await upstreamOf((received) => reply(received, 529, failing))
    const { client } = clientOf(upstream, { degradedMessage: 'busy' })
    const whole = await client.messages.create(CALL)
    const streamed = await client.messages.stream(CALL).finalMessage()
    for (const { content } of [whole, streamed]) expect(content).toMatchObject([{ type: 'text', text: 'busy' }])
  })

  test('an error is the SDK’s own', async () => {
    const failing = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }
    const upstream = await upstreamOf((received) => reply(received, 529, failing))
    const { client } = clientOf(upstream)
    await expect(client.messages.create(CALL)).rejects.toMatchObject({ status: 529, error: failing })
  })

  test('through the gateway, whole and streamed, with the key of the gateway', async () => {
    const upstream = await upstreamOf((received) => {
      if (received.body.stream) finish(begin(received))
      else reply(received, 200, MESSAGE)
    })
    const pool = { provider: PROVIDER, apiKey: 'pool-key', baseURL: upstream.baseURL, models: ['c'] }
    const gateway = await startGateway(upstream, { pools: { claude: pool }, env: { HEADGATE_API_KEYS: 'k1' } })
    const client = new Anthropic({ baseURL: gateway.url, apiKey: 'k1', maxRetries: 0 })
    expect(await client.messages.create(CALL)).toMatchObject(MESSAGE)
    expect(await client.messages.stream(CALL).finalMessage()).toMatchObject({ content: [{ text: 'hi' }] })
    expect(upstream.received.map(({ headers }) => headers['x-api-key'])).toEqual(['pool-key', 'pool-key'])
    const stranger = new Anthropic({ baseURL: gateway.url, apiKey: 'k2', maxRetries: 0 })
    await expect(stranger.messages.create(CALL)).rejects.toMatchObject({ status: 401 })
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([{ totalTokens: 5 }, { totalTokens: 5 }, { httpStatus: 401 }])
  })

  test('other APIs are not there', async () => {
    const { client } = clientOf(await upstreamOf())
    await expect(client.models.list()).rejects.toMatchObject({ status: 404 })
  })
})
