import { describe, expect, test, vi } from 'vitest'
import type { PoolOptions } from '../src/config.js'
import { createHeadgate, type GateOptions } from '../src/index.js'
import { textOf } from '../src/providers/sse.js'
import { cleanups, MESSAGES, type Received, simulatorOf, upstreamOf } from './gateway/harness.js'

const RETRY = { maxAttempts: 3, baseMs: 1, capMs: 2 }

function open({ baseURL }: { baseURL: string }, pool: Partial<PoolOptions> = {}, more: Partial<GateOptions> = {}) {
  const main = { provider: 'glm', apiKey: 'k', baseURL, guardMs: 5, retry: RETRY, ...pool }
  const gate = createHeadgate({ pools: { main }, ...more })
  cleanups.push(() => gate.close())
  return {
    gate,
    spawn: (input: object = {}) => gate.spawn({ pool: 'main', messages: MESSAGES, stream: true, ...input }),
  }
}

const chunk = (content: string, more: object = {}) => ({
  id: 'c1',
  object: 'chat.completion.chunk',
  model: 'm',
  choices: [{ index: 0, delta: { content }, finish_reason: null }],
  ...more,
})
const USAGE = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }

/** Begins an answer by hand; `send` says whether the socket took it. */
function begin({ response }: Received) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  return {
    send: (data: object | string) =>
      response.write(`data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`),
    raw: (text: string) => response.write(text),
    end: () => response.end('data: [DONE]\n\n'),
    cut: () => response.socket!.destroy(),
  }
}

async function textIn(chunks: AsyncIterable<{ choices: readonly { delta: { content?: string | null } }[] }>) {
  let text = ''
  for await (const { choices } of chunks) text += choices[0]?.delta.content ?? ''
  return text
}

describe('a streamed answer', () => {
  test.each(['glm', 'deepseek', 'openai'] as const)(
    'of %s: its chunks, and the usage it was settled with',
    async (profile) => {
      const simulator = await simulatorOf({ profile })
      const { spawn, gate } = open(simulator, { provider: profile, limits: { tokens: '1000/1m', concurrency: 1 } })
      const request = await spawn({ maxTokens: 20 })
      const all: unknown[] = []
      for await (const one of request.chunks) all.push(one)
      expect(await textIn(fromArray(all))).toBe('word '.repeat(20))
      expect(await request.outcome).toMatchObject({
        status: 'completed',
        httpStatus: 200,
        attempts: 1,
        usage: { completionTokens: 20 },
      })
      // The chunk with the usage alone is for who asked for it.
      expect(all.every((one) => (one as { choices: unknown[] }).choices.length > 0)).toBe(true)
      // The slot is back.
      expect(await gate.complete({ pool: 'main', messages: MESSAGES, maxTokens: 5 })).toMatchObject({
        object: 'chat.completion',
      })
    },
  )

  test('over the estimate: the difference is owed at once', async () => {
    const upstream = await upstreamOf()
    const { spawn, gate } = open(upstream, { limits: { tokens: '10000/1h' } })
    const request = await spawn({ estimatedTokens: 10 })
    const answer = begin(await upstream.arrival(0))
    answer.send(chunk('hi'))
    answer.send(chunk('', { usage: { prompt_tokens: 100, completion_tokens: 200, total_tokens: 300 } }))
    answer.end()
    expect(await textIn(request.chunks)).toBe('hi')
    await request.outcome
    await vi.waitFor(async () => {
      const [usage] = await gate.usage()
      expect(usage!.limits[0]).toMatchObject({ used: 300 })
    })
  })

  test('broken off: what it told until then is owed, and the rest of the estimate stays spent', async () => {
    const upstream = await upstreamOf()
    const { spawn, gate } = open(upstream, { limits: { tokens: '10000/1h' } })
    for (const [index, estimatedTokens] of [10, 1000].entries()) {
      const request = await spawn({ estimatedTokens })
      const answer = begin(await upstream.arrival(index))
      answer.send(chunk('hi', { usage: { prompt_tokens: 100, completion_tokens: 200, total_tokens: 300 } }))
      upstream.received[index]!.response.end()
      await expect(textIn(request.chunks)).rejects.toMatchObject({ code: 'PROVIDER_ERROR' })
      const { status, usage } = await request.outcome
      expect([status, usage]).toEqual([
        'failed',
        { estimatedTokens, promptTokens: 100, completionTokens: 200, totalTokens: 300 },
      ])
    }
    await vi.waitFor(async () => {
      const [usage] = await gate.usage()
      expect(usage!.limits[0]).toMatchObject({ used: 300 + 1000 })
    })
  })

  test('the chunk with the usage is passed on to who asked for it', async () => {
    const upstream = await upstreamOf()
    const { spawn } = open(upstream, { provider: 'openai-compatible' })
    const asked = await spawn({ body: { stream_options: { include_usage: true, other: 1 } } })
    const silent = await spawn({ body: { stream_options: { other: 1 } } })
    for (const index of [0, 1]) {
      const received = await upstream.arrival(index)
      expect(received.body.stream_options).toEqual({ include_usage: true, other: 1 })
      const answer = begin(received)
      answer.send(chunk('hi', { usage: null }))
      answer.send({ choices: [], usage: USAGE })
      answer.end()
    }
    const chunksOf = async ({ chunks }: typeof asked) => {
      let count = 0
      for await (const _ of chunks) count++
      return count
    }
    expect([await chunksOf(asked), await chunksOf(silent)]).toEqual([2, 1])
    for (const { outcome } of [asked, silent]) expect(await outcome).toMatchObject({ usage: { totalTokens: 5 } })
  })

  test('of many times what the buffers hold arrives whole, whatever the pace of its reader', async () => {
    const upstream = await upstreamOf()
    const request = await open(upstream).spawn()
    const { response } = await upstream.arrival(0)
    const answer = begin({ response } as Received)
    const part = chunk('x'.repeat(1_000_000))
    const chunks = request.chunks[Symbol.asyncIterator]()
    for (let i = 0; i < 30; i++) answer.send(part)
    answer.end()
    await chunks.next()
    // Its reader is slow: what it has not read yet is still at the provider.
    expect(response.writableFinished).toBe(false)
    let read = 1
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) read++
    expect(read).toBe(30)
    expect(await request.outcome).toMatchObject({ status: 'completed' })
  })

  test('comes in pieces cut anywhere, with comments and heartbeats between', async () => {
    const upstream = await upstreamOf()
    const { spawn } = open(upstream)
    const request = await spawn()
    const answer = begin(await upstream.arrival(0))
    answer.raw(': waiting\n\ndata:\n\n')
    const bytes = Buffer.from(`data: ${JSON.stringify(chunk('你好'))}\r\n\r\n: still here\n\ndata: [DONE]`)
    for (const byte of bytes) answer.raw(Buffer.from([byte]) as never)
    ;(await upstream.arrival(0)).response.end()
    const texts: string[] = []
    for await (const event of request.stream!.events()) texts.push(textOf(event))
    expect(texts).toEqual([
      ': waiting\n\n',
      ': heartbeat\n\n',
      `data: ${JSON.stringify(chunk('你好'))}\n\n`,
      ': still here\n\n',
      'data: [DONE]\n\n',
    ])
  })

  test('has one reader', async () => {
    const { spawn } = open(await simulatorOf())
    const request = await spawn()
    await textIn(request.chunks)
    await expect(textIn(request.chunks)).rejects.toMatchObject({ code: 'BAD_REQUEST' })
  })

  test('a request that does not stream has no chunks, and complete does not stream', async () => {
    const { spawn, gate } = open(await simulatorOf())
    const request = await spawn({ stream: false })
    expect(request.stream).toBeUndefined()
    await expect(textIn(request.chunks)).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    for (const input of [{ stream: true }, { body: { stream: true } }]) {
      const streaming = gate.complete({ pool: 'main', messages: MESSAGES, ...input })
      await expect(streaming).rejects.toMatchObject({ code: 'BAD_REQUEST' })
    }
  })

  test('a provider that answers with the whole all the same: it is the value', async () => {
    const upstream = await upstreamOf(({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"choices":[]}')
    })
    const request = await open(upstream).spawn()
    expect(await textIn(request.chunks)).toBe('')
    expect(await request.outcome).toMatchObject({ status: 'completed', value: { choices: [] } })
  })
})

describe('before the first event', () => {
  test('an error status is retried', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302', 2)
    const request = await open(simulator).spawn({ maxTokens: 8 })
    expect(await textIn(request.chunks)).toBe('word '.repeat(8))
    expect(await request.outcome).toMatchObject({ status: 'completed', attempts: 3 })
  })

  test.each([
    ['an error in the first event', (one: Received) => begin(one).send({ error: { code: '1302', message: 'busy' } })],
    ['an error after a heartbeat', (one: Received) => begin(one).raw('data:\n\ndata: {"error":{"code":"1302"}}\n\n')],
    ['a cut', (one: Received) => begin(one).cut()],
    ['an end without an event', (one: Received) => begin(one).raw(': nothing\n\n') && one.response.end()],
  ])('%s under HTTP 200 is a failed attempt', async (_, fail) => {
    const upstream = await upstreamOf()
    const request = await open(upstream).spawn()
    fail(await upstream.arrival(0))
    const answer = begin(await upstream.arrival(1))
    answer.send(chunk('good'))
    answer.end()
    expect(await textIn(request.chunks)).toBe('good')
    expect(await request.outcome).toMatchObject({ status: 'completed', attempts: 2 })
  })

  test('attempts run out: the reader gets the degraded message, in chunks', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302', 3)
    const request = await open(simulator, { degradedMessage: 'busy' }).spawn()
    expect(await textIn(request.chunks)).toBe('busy')
    expect(await request.outcome).toMatchObject({ status: 'degraded', via: 'message' })
    expect(await request.stream!.started).toMatchObject({ head: undefined, attempts: 3 })
  })

  test('attempts run out with nothing to degrade to: the reader gets the error', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302', 3)
    const request = await open(simulator).spawn()
    await expect(textIn(request.chunks)).rejects.toMatchObject({ code: 'RATE_LIMITED', providerCode: '1302' })
    expect(await request.stream!.started).toBeUndefined()
  })
})

describe('after the first event nothing is retried', () => {
  async function begun(pool: Partial<PoolOptions> = {}, input: object = {}) {
    const upstream = await upstreamOf()
    const { spawn, gate } = open(upstream, { degradedMessage: 'busy', ...pool })
    const request = await spawn(input)
    const received = await upstream.arrival(0)
    const answer = begin(received)
    answer.send(chunk('one'))
    const chunks = request.chunks[Symbol.asyncIterator]()
    await chunks.next()
    return { upstream, spawn, gate, request, received, answer, chunks }
  }

  test.each([
    [
      'an error',
      ({ answer }: Awaited<ReturnType<typeof begun>>) => answer.send({ error: { code: '1305' } }),
      'OVERLOADED',
    ],
    ['a cut', ({ answer }: Awaited<ReturnType<typeof begun>>) => answer.cut(), 'PROVIDER_ERROR'],
  ])('%s: failed, without the degraded message', async (_, fail, code) => {
    const stream = await begun()
    fail(stream)
    await expect(stream.chunks.next()).rejects.toMatchObject({ code, retryable: true })
    expect(await stream.request.outcome).toMatchObject({ status: 'failed', attempts: 1, error: { code } })
    expect(stream.upstream.received).toHaveLength(1)
  })

  test('the deadline: expired', async () => {
    const { request, received, chunks } = await begun({}, { deadline: '1s' })
    await expect(chunks.next()).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
    expect(await request.outcome).toMatchObject({ status: 'expired' })
    await received.closed
  })

  test('a reader that leaves cancels the request; the slot is back once the socket has closed', async () => {
    const { spawn, upstream, request, received, chunks } = await begun({ limits: { concurrency: 1 } })
    const next = await spawn()
    await chunks.return!()
    expect(await request.outcome).toMatchObject({ status: 'cancelled' })
    await received.closed
    const answer = begin(await upstream.arrival(1))
    answer.send(chunk('two'))
    answer.end()
    expect(await textIn(next.chunks)).toBe('two')
  })

  test('a cancellation while the reader is slow ends the call, too', async () => {
    const { request, received, answer } = await begun()
    while (answer.send(chunk('x'.repeat(100_000))));
    request.cancel()
    expect(await request.outcome).toMatchObject({ status: 'cancelled' })
    await received.closed
  })
})

async function* fromArray<T>(items: readonly unknown[]) {
  for (const item of items) yield item as T & { choices: readonly { delta: { content?: string } }[] }
}
