import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import http, { type IncomingMessage } from 'node:http'
import OpenAI from 'openai'
import { describe, expect, test } from 'vitest'
import {
  API_KEY,
  COMPLETION,
  MESSAGES,
  type Received,
  reply,
  type Upstream,
  simulatorOf,
  startGateway,
  upstreamOf,
} from './harness.js'

const STREAM = { model: 'glm-4', messages: MESSAGES, stream: true }
const CHUNK = 'data: {"id":"c","choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'

function begin({ response }: Received) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  return response
}
const DONE = 'data: [DONE]\n\n'
const WHOLE = CHUNK + DONE

/** Reads until so much text is there. */
async function readUntil(reader: ReadableStreamDefaultReader<Uint8Array>, enough: (text: string) => boolean) {
  const decoder = new TextDecoder()
  let text = ''
  while (!enough(text)) {
    const { value, done } = await reader.read()
    if (done) break
    text += decoder.decode(value, { stream: true })
  }
  return text
}

describe('a stream through the gateway', () => {
  test('passes event by event, with comments; a heartbeat goes out as a comment', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const answer = gateway.chat(STREAM)
    const response = begin(await upstream.arrival(0))
    response.write(CHUNK)
    const { status, headers, body } = await answer
    expect([status, headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8'])
    expect(headers.get('x-headgate-attempts')).toBe('1')
    expect(headers.get('x-headgate-request-id')).toMatch(/^[\da-f-]{36}$/)
    const reader = body!.getReader()
    // Each is there before the next is sent.
    expect(await readUntil(reader, (text) => text.endsWith('\n\n'))).toBe(CHUNK)
    response.write('data:\n\n')
    expect(await readUntil(reader, (text) => text.endsWith('\n\n'))).toBe(': heartbeat\n\n')
    response.write(': keep-alive\n\n')
    expect(await readUntil(reader, (text) => text.endsWith('\n\n'))).toBe(': keep-alive\n\n')
    response.end(
      'event: x\ndata: {"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\ndata: [DONE]\n\n',
    )
    expect(await readUntil(reader, () => false)).toBe(
      'event: x\ndata: {"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\ndata: [DONE]\n\n',
    )
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([
      { httpStatus: 200, outcome: 'completed', attempts: 1, totalTokens: 4, pool: 'glm', model: 'glm-4' },
    ])
    expect(JSON.stringify(gateway.log.entries)).not.toContain('"hi"')
  })

  test.each(['glm', 'deepseek', 'openai'] as const)('of %s is read by the OpenAI SDK', async (profile) => {
    const simulator = await simulatorOf({ profile })
    const gateway = await startGateway(simulator, { pool: { provider: profile } })
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'any', maxRetries: 0 })
    const messages = [{ role: 'user' as const, content: 'hello' }]
    const stream = await client.chat.completions.create({ model: 'glm-4', messages, stream: true, max_tokens: 20 })
    let text = ''
    for await (const { choices } of stream) {
      text += choices[0]!.delta.content ?? ''
    }
    expect(text).toBe('word '.repeat(20))
  })

  test('an error before the first byte is an answer like any other', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302')
    const gateway = await startGateway(simulator)
    const response = await gateway.chat(STREAM)
    expect([response.status, response.headers.get('x-headgate-outcome')]).toEqual([429, 'failed'])
    expect(await response.json()).toMatchObject({ error: { code: '1302' } })
  })

  test('an error in the first event is retried', async () => {
    const upstream = await upstreamOf()
    const retry = { maxAttempts: 2, baseMs: 1, capMs: 2 }
    const gateway = await startGateway(upstream, { pool: { retry } })
    const answer = gateway.chat(STREAM)
    begin(await upstream.arrival(0)).end('data: {"error":{"code":"1302","message":"busy"}}\n\n')
    begin(await upstream.arrival(1)).end(WHOLE)
    const response = await answer
    expect(response.headers.get('x-headgate-attempts')).toBe('2')
    expect(await response.text()).toBe(WHOLE)
  })

  test('an error event before any other is the same answer as an error without a stream', async () => {
    const upstream = await upstreamOf((received) =>
      begin(received).end('data: {"error":{"code":"1302","message":"busy"}}\n\n'),
    )
    const retry = { maxAttempts: 2, baseMs: 1, capMs: 2 }
    const gateway = await startGateway(upstream, { pool: { retry } })
    const response = await gateway.chat(STREAM)
    const { status, headers } = response
    expect([status, headers.get('retry-after'), headers.get('x-headgate-attempts')]).toEqual([429, '1', '2'])
    expect(await response.json()).toEqual({ error: { code: '1302', message: 'busy' } })
    const stats = await (await fetch(`${gateway.url}/api/v1/monitoring/stats`)).json()
    expect(stats).toMatchObject({ pools: { glm: { provider429: { '1302': 2 } } } })
  })

  test.each([
    ['the provider’s own error', `data: {"error":{"code":"1305","message":"key ${API_KEY}"}}\n\n`, '1305'],
    ['a cut', undefined, 'provider_error'],
  ])('%s in the middle: one more event, and the end', async (_, text, code) => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream, { pool: { degradedMessage: 'busy' } })
    const answer = gateway.chat(STREAM)
    const response = begin(await upstream.arrival(0))
    response.write(CHUNK)
    const reader = (await answer).body!.getReader()
    expect(await readUntil(reader, (read) => read.length >= CHUNK.length)).toBe(CHUNK)
    if (text) response.write(text)
    else response.socket!.destroy()
    const rest = await readUntil(reader, () => false)
    expect(rest).toMatch(/^data: .*\n\n$/)
    expect(JSON.parse(rest.slice(6))).toMatchObject({ error: { code } })
    expect(rest).not.toContain(API_KEY)
    expect(upstream.received).toHaveLength(1)
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([{ httpStatus: 200, outcome: 'failed' }])
  })

  test('the deadline in the middle: one more event, and the end', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const answer = gateway.chat(STREAM, { 'x-headgate-deadline': '1s' })
    const { response, closed } = await upstream.arrival(0)
    begin({ response } as Received).write(CHUNK)
    const text = await (await answer).text()
    expect(text.startsWith(`${CHUNK}data: `)).toBe(true)
    expect(JSON.parse(text.slice(CHUNK.length + 6))).toMatchObject({ error: { code: 'deadline_exceeded' } })
    await closed
  })

  test('degraded: 200 with the message in chunks', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302')
    const gateway = await startGateway(simulator, { pool: { degradedMessage: '抱歉' } })
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'any', maxRetries: 0 })
    const { data, response } = await client.chat.completions
      .create({ model: 'glm-4', messages: [{ role: 'user', content: 'hello' }], stream: true })
      .withResponse()
    expect(response.headers.get('x-headgate-outcome')).toBe('degraded')
    let text = ''
    for await (const { choices } of data) text += choices[0]!.delta.content ?? ''
    expect(text).toBe('抱歉')
  })

  test('a client that hangs up in the middle cuts the call; its slot is free for the next', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream, { pool: { limits: { concurrency: 1 }, adaptive: false } })
    const controller = new AbortController()
    const answer = gateway.chat(STREAM, {}, controller.signal)
    const { response, closed } = await upstream.arrival(0)
    begin({ response } as Received).write(CHUNK)
    const reader = (await answer).body!.getReader()
    await reader.read()
    const next = gateway.chat(STREAM)
    controller.abort()
    await closed
    begin(await upstream.arrival(1)).end(WHOLE)
    expect(await (await next).text()).toBe(WHOLE)
    await gateway.close()
    expect(gateway.log.requests().map(({ outcome }) => outcome)).toEqual(['cancelled', 'completed'])
  })

  test('a slow client holds the provider up, and nothing is lost', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const answer = new Promise<IncomingMessage>((resolve) => {
      const request = http.request(`${gateway.url}/v1/chat/completions`, { method: 'POST' }, resolve)
      request.end(JSON.stringify(STREAM))
    })
    const response = begin(await upstream.arrival(0))
    const part = `data: {"choices":[],"pad":"${'x'.repeat(1_000_000)}"}\n\n`
    for (let i = 0; i < 40; i++) response.write(part)
    response.end(DONE)
    const slow = await answer
    // Nothing is read of it yet, while others come and go.
    for (let i = 0; i < 20; i++) await fetch(`${gateway.url}/healthz`).then((one) => one.text())
    expect(response.writableFinished).toBe(false)
    let bytes = 0
    for await (const piece of slow) bytes += (piece as Buffer).length
    expect(bytes).toBe(40 * part.length + DONE.length)
  })
})

describe('a stream whose provider closes it', () => {
  const messages = MESSAGES
  const anthropic = (...types: string[]) =>
    types.map((type) => `event: ${type}\ndata: ${JSON.stringify({ type })}\n\n`).join('')
  const openai = (...finishes: unknown[]) =>
    finishes
      .map((finish) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: finish }] })}\n\n`)
      .join('')
  const ended = (text: string) => upstreamOf((received) => begin(received).end(text))
  const post = (url: string, path: string, headers = {}) =>
    fetch(`${url}/v1/${path}`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json', ...headers } },
      body: JSON.stringify({ model: 'glm-4', messages, input: 'hello', max_tokens: 5, stream: true }),
    })
  const gatewayOf = (upstream: Upstream, provider: string) =>
    startGateway(upstream, { pool: { provider, limits: { tokens: '100000/1m' } }, cache: {} })

  test.each([
    ['glm', 'chat/completions', CHUNK],
    ['openai', 'chat/completions', openai(null, '')],
    ['gemini', 'chat/completions', CHUNK],
    ['ollama', 'chat/completions', CHUNK],
    ['openai', 'responses', anthropic('response.created', 'response.output_text.delta')],
    ['anthropic', 'messages', anthropic('message_start', 'content_block_delta', 'content_block_stop')],
  ])('of %s at %s before it is whole: an error event, and nothing is kept', async (provider, path, text) => {
    const upstream = await ended(text)
    const gateway = await gatewayOf(upstream, provider)
    for (const _ of [1, 2]) {
      const response = await post(gateway.url, path, { 'idempotency-key': 'k' })
      const answer = await response.text()
      expect(answer.startsWith(text)).toBe(true)
      const last = answer.slice(text.length)
      expect(last).toMatch(provider === 'anthropic' ? /^event: error\ndata: .*\n\n$/ : /^data: .*\n\n$/)
      const message = expect.stringContaining('broke off before the answer was whole')
      expect(JSON.parse(last.slice(last.indexOf('{')))).toMatchObject({ error: { code: 'provider_error', message } })
    }
    expect(upstream.received).toHaveLength(2)
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([{ outcome: 'failed' }, { outcome: 'failed' }])
  })

  test.each([
    ['glm', 'chat/completions', openai(null, 'stop')],
    ['gemini', 'chat/completions', openai('STOP')],
    ['ollama', 'chat/completions', `${CHUNK}data: [DONE]`],
    ['openai', 'responses', anthropic('response.created', 'response.incomplete')],
    ['anthropic', 'messages', anthropic('message_start', 'message_stop')],
  ])('of %s at %s once it is whole, with whatever it leaves out: an answer', async (provider, path, text) => {
    const gateway = await gatewayOf(await ended(text), provider)
    const answer = await (await post(gateway.url, path)).text()
    expect(answer.trimEnd()).toBe(text.trimEnd())
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([{ outcome: 'completed' }])
  })

  test('in the middle of an event: that is left out', async () => {
    const gateway = await gatewayOf(await ended(`${CHUNK}data: {"choices":[{"delta":{"con`), 'glm')
    const answer = await (await post(gateway.url, 'chat/completions')).text()
    expect(answer).toMatch(/^data: .*"hi".*\n\ndata: \{"error":.*\n\n$/)
  })
})

describe('a provider with a will of its own', () => {
  const TOOLS = {
    role: 'assistant',
    content: null,
    tool_calls: [{ id: 't', type: 'function', function: { name: 'f' } }],
  }

  test('that answers a stream with a whole: the same as a stream', async () => {
    const choices = [{ index: 0, message: TOOLS, finish_reason: 'tool_calls' }]
    const upstream = await upstreamOf((received) => reply(received, 200, { ...COMPLETION, choices }))
    const gateway = await startGateway(upstream)
    const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'any', maxRetries: 0 })
    const messages = [{ role: 'user' as const, content: 'hello' }]
    const chunks = []
    for await (const one of await client.chat.completions.create({ model: 'glm-4', messages, stream: true }))
      chunks.push(one)
    expect(chunks).toMatchObject([
      {
        object: 'chat.completion.chunk',
        choices: [{ index: 0, delta: { tool_calls: [{ index: 0, id: 't' }] }, finish_reason: 'tool_calls' }],
        usage: COMPLETION.usage,
      },
    ])
  })

  test('that streams to who asked for a whole: said once, and not paid for again', async () => {
    const upstream = await upstreamOf((received) => begin(received).end(WHOLE))
    const gateway = await startGateway(upstream, { pool: { retry: { maxAttempts: 3, baseMs: 1, capMs: 2 } } })
    const response = await gateway.chat()
    const message = expect.stringContaining('got an event stream: ask with stream: true')
    expect([response.status, await response.json()]).toMatchObject([502, { error: { message } }])
    expect(upstream.received).toHaveLength(1)
  })

  test('… but an error among its events is that error', async () => {
    const upstream = await upstreamOf((received) =>
      begin(received).end('data: {"error":{"code":"1302","message":"x"}}\n\n'),
    )
    expect((await (await startGateway(upstream)).chat()).status).toBe(429)
  })

  test.each([
    ['gzip', gzipSync],
    ['br', brotliCompressSync],
    ['deflate', deflateSync],
  ])('that compresses with %s what nobody asked it to: the same answer', async (encoding, compress) => {
    const upstream = await upstreamOf(({ response, body }) => {
      const type = body.stream ? 'text/event-stream' : 'application/json'
      response.writeHead(200, { 'content-type': type, 'content-encoding': encoding })
      response.end(compress(body.stream ? WHOLE : JSON.stringify(COMPLETION)))
    })
    const gateway = await startGateway(upstream)
    expect(await (await gateway.chat()).json()).toEqual(COMPLETION)
    expect(await (await gateway.chat(STREAM)).text()).toBe(WHOLE)
    expect(upstream.received[0]!.headers['accept-encoding']).toBe('identity')
  })

  test.each([
    ['a null', 'null', undefined],
    ['a number', '7', undefined],
    ['an encoding that nobody knows', '{}', 'zstd-9'],
    ['bytes that are not what they say', '{}', 'gzip'],
  ])('that answers with %s: a failure', async (_, text, encoding) => {
    const upstream = await upstreamOf(({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json', ...(encoding && { 'content-encoding': encoding }) })
      response.end(text)
    })
    expect((await (await startGateway(upstream)).chat()).status).toBe(502)
  })
})
