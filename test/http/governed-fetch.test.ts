import { describe, expect, test } from 'vitest'
import type { PoolOptions } from '../../src/config.js'
import { createHeadgate } from '../../src/index.js'
import { cleanups, COMPLETION, MESSAGES, reply, upstreamOf } from '../gateway/harness.js'

const KEY = 'pool-secret-0123456789'
const URL = 'http://anywhere/v1/chat/completions'

function open({ baseURL }: { baseURL: string }, pool: Partial<PoolOptions> = {}) {
  const retry = { maxAttempts: 1, baseMs: 1, capMs: 2 }
  const main = { provider: 'glm', apiKey: KEY, baseURL, guardMs: 5, retry, models: ['glm-4'], ...pool }
  const gate = createHeadgate({ pools: { main } })
  cleanups.push(() => gate.close())
  const governed = gate.fetch('main')
  const post = (body: unknown = { messages: MESSAGES }, init: RequestInit = {}) =>
    governed(URL, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), ...init })
  return { gate, governed, post }
}

describe('a governed fetch', () => {
  test('takes what fetch takes; without a model it is the pool’s first', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, COMPLETION))
    const { governed, post } = open(upstream)
    const init = { method: 'POST', body: JSON.stringify({ model: 'other', messages: MESSAGES }) }
    for (const response of [await post(), await governed(new Request(URL, init))]) {
      expect([response.status, response.headers.get('x-headgate-outcome')]).toEqual([200, 'completed'])
      expect(await response.json()).toEqual(COMPLETION)
    }
    expect(upstream.received.map(({ body }) => body.model)).toEqual(['glm-4', 'other'])
  })

  test('has no pool of an unknown name', () => {
    const { gate } = open({ baseURL: 'http://127.0.0.1:9' })
    expect(() => gate.fetch('nope')).toThrow(expect.objectContaining({ code: 'BAD_REQUEST' }))
  })

  test.each([
    ['no JSON', '{', 400, 'invalid_json'],
    ['no messages', {}, 400, 'bad_request'],
    ['a stream that is neither true nor false', { messages: MESSAGES, stream: 'yes' }, 400, 'bad_request'],
  ])('%s resolves with an error in the usual shape', async (_, body, status, code) => {
    const response = await open({ baseURL: 'http://127.0.0.1:9' }).post(body)
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ error: { code, type: 'invalid_request_error' } })
  })

  test('a call for the other wire is told where to go', async () => {
    const { governed } = open({ baseURL: 'http://127.0.0.1:9' })
    const response = await governed('http://x/v1/messages', { method: 'POST', body: '{"messages":[]}' })
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({
      type: 'error',
      error: { code: 'unsupported_api', message: expect.stringContaining('/v1/chat/completions') },
    })
  })

  test('a full queue: 429 with a time to come back after, as serve answers', async () => {
    const upstream = await upstreamOf()
    const queue = { maxActive: 1, maxQueued: 1 }
    const { post } = open(upstream, { limits: { concurrency: 1 }, adaptive: false, queue })
    const accepted = [post(), post()]
    const response = await post()
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, expect.stringMatching(/^\d+$/)])
    for (const index of [0, 1]) reply(await upstream.arrival(index), 200, COMPLETION)
    for (const one of accepted) expect((await one).status).toBe(200)
  })

  test('a gate that drains: 503', async () => {
    const { gate, post } = open({ baseURL: 'http://127.0.0.1:9' })
    await gate.drain()
    expect((await post()).status).toBe(503)
  })

  test('rejects with the reason of its signal, before, meanwhile and in the middle of a stream', async () => {
    const upstream = await upstreamOf()
    const { post } = open(upstream)
    const reason = new Error('mine')
    await expect(post(undefined, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controllers = [new AbortController(), new AbortController()]
    const waiting = post(undefined, { signal: controllers[0]!.signal })
    const { closed } = await upstream.arrival(0)
    controllers[0]!.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await closed
    const streaming = post({ messages: MESSAGES, stream: true }, { signal: controllers[1]!.signal })
    const second = await upstream.arrival(1)
    second.response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"choices":[]}\n\n')
    const reader = (await streaming).body!.getReader()
    await reader.read()
    controllers[1]!.abort(reason)
    await expect(reader.read()).rejects.toBe(reason)
    await second.closed
  })

  test('a reader that goes away cancels the request', async () => {
    const upstream = await upstreamOf()
    const { gate, post } = open(upstream)
    const streaming = post({ messages: MESSAGES, stream: true })
    const { response, closed } = await upstream.arrival(0)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"choices":[]}\n\n')
    await (await streaming).body!.cancel()
    await closed
    expect(gate.stats().pools.main!.outcomes.cancelled).toBe(1)
  })

  test('an answer never repeats the pool’s key', async () => {
    const error = { error: { message: `bad key ${KEY}`, code: '1000' } }
    const upstream = await upstreamOf((received) => reply(received, 401, error))
    const response = await open(upstream).post()
    expect([response.status, await response.text()]).toEqual([401, expect.not.stringContaining(KEY)])
  })
})
