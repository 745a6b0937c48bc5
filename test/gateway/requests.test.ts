import { request as httpRequest } from 'node:http'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { API_KEY, COMPLETION, type Gateway, MESSAGES, reply, startGateway, upstreamOf } from './harness.js'

const CHAT = { model: 'glm-4', messages: MESSAGES }
const answering = () => upstreamOf((received) => reply(received, 200, COMPLETION))

async function errorOf(response: Response) {
  const { error } = (await response.json()) as { error: Record<string, unknown> }
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type'])
  return { status: response.status, ...error }
}

describe('what goes to the provider', () => {
  test('the body with every field it came with, under the key of the pool', async () => {
    const upstream = await answering()
    const gateway = await startGateway(upstream)
    const body = {
      ...CHAT,
      max_tokens: 5,
      temperature: 0.1,
      stream: false,
      thinking: { type: 'disabled' },
      tools: [{ type: 'web_search', web_search: { enable: true } }],
      never_heard_of: [1, { deep: null }],
    }
    expect((await gateway.chat(body, { authorization: 'Bearer of-the-client' })).status).toBe(200)
    expect(upstream.received[0]!.body).toEqual(body)
    const { headers } = upstream.received[0]!
    expect(headers.authorization).toBe(`Bearer ${API_KEY}`)
    expect(JSON.stringify(headers)).not.toContain('of-the-client')
  })

  test('a model picks its pool; the name of a pool means its first model', async () => {
    const [glm, other] = [await answering(), await answering()]
    const pools = {
      fast: { provider: 'openai-compatible', baseURL: other.baseURL, models: ['qwen-7b', 'qwen-14b'] },
    }
    const gateway = await startGateway(glm, { pools })
    for (const model of ['glm-4', 'glm', 'qwen-14b', 'fast']) {
      expect((await gateway.chat({ ...CHAT, model })).status).toBe(200)
    }
    expect(glm.received.map(({ body }) => body.model)).toEqual(['glm-4', 'glm-4'])
    expect(other.received.map(({ body }) => body.model)).toEqual(['qwen-14b', 'qwen-7b'])
  })

  test('tenant, priority and deadline reach the gate', async () => {
    const gateway = await startGateway(await answering())
    const headers = { 'x-headgate-tenant': 'web', 'x-headgate-priority': 'low', 'x-headgate-deadline': '30s' }
    expect((await gateway.chat(CHAT, headers)).status).toBe(200)
    const transitions = gateway.log.entries.filter(({ message }) => message === 'transition')
    expect(transitions.length).toBeGreaterThan(3)
    expect(new Set(transitions.map(({ details }) => details.tenant))).toEqual(new Set(['web']))
  })
})

describe('bad input', () => {
  test('an unknown model: 404 with those there are', async () => {
    const gateway = await startGateway(await answering())
    expect(await errorOf(await gateway.chat({ ...CHAT, model: 'gpt-9' }))).toEqual({
      status: 404,
      message: 'the model "gpt-9" does not exist: expected one of glm-4, glm',
      type: 'invalid_request_error',
      code: 'model_not_found',
      param: 'model',
    })
  })

  test.each([
    ['no JSON', '{"model":', 'invalid_json', null, /could not be parsed/],
    ['no object', '[1]', 'invalid_json', null, /expected a JSON object/],
    ['an empty body', '', 'invalid_json', null, /could not be parsed/],
    ['no model', { messages: MESSAGES }, 'bad_request', 'model', /expected one of glm-4, glm$/],
    ['a model that is no text', { ...CHAT, model: 4 }, 'bad_request', 'model', /expected one of glm-4/],
    ['no messages', { model: 'glm-4' }, 'bad_request', 'messages', /expected a non-empty array, got undefined/],
    ['empty messages', { ...CHAT, messages: [] }, 'bad_request', 'messages', /expected a non-empty array/],
    ['a stream that is neither', { ...CHAT, stream: 1 }, 'bad_request', 'stream', /expected true or false, got 1/],
  ])('%s: 400', async (_, body, code, param, message) => {
    const upstream = await answering()
    const gateway = await startGateway(upstream)
    expect(await errorOf(await gateway.chat(body))).toEqual({
      status: 400,
      message: expect.stringMatching(message),
      type: 'invalid_request_error',
      code,
      param,
    })
    expect(upstream.received).toEqual([])
  })

  test.each([
    ['x-headgate-tenant', 'two words', 'expected up to 100 letters, digits or . : / @ _ -, got "two words"'],
    ['x-headgate-priority', 'urgent', `expected 'high', 'normal' or 'low', got "urgent"`],
    ['x-headgate-deadline', 'soon', `expected ms (a number) or a duration such as '30s', got "soon"`],
    ['x-headgate-deadline', '30', `expected ms (a number) or a duration such as '30s', got "30"`],
  ])('%s: 400 with what was expected and got', async (name, value, message) => {
    const gateway = await startGateway(await answering())
    const error = await errorOf(await gateway.chat(CHAT, { [name]: value }))
    expect(error).toMatchObject({ status: 400, code: 'bad_request', param: name, message: `${name}: ${message}` })
  })

  test('a request that costs more than a limit: 400 at once', async () => {
    const gateway = await startGateway(await answering(), { pool: { limits: { tokens: '10/1m' } } })
    const error = await errorOf(await gateway.chat({ ...CHAT, max_tokens: 500 }))
    expect(error).toMatchObject({ status: 400, code: 'bad_request', message: expect.stringContaining('at most 10') })
  })

  test('text that is not UTF-8: 400', async () => {
    const gateway = await startGateway(await answering())
    const body = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])
    const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', body })
    expect(await errorOf(response)).toMatchObject({ status: 400, message: expect.stringContaining('not UTF-8') })
  })

  test('a body beyond 10 MB: 413, whether or not its length is said', async () => {
    const gateway = await startGateway(await answering())
    const large = Buffer.alloc(10 * 1024 * 1024 + 1, 'x')
    for (const chunked of [false, true]) expect(await statusOfUpload(gateway, large, chunked)).toBe(413)
    const fits = Buffer.from(JSON.stringify({ ...CHAT, pad: 'x'.repeat(9_000_000) }))
    for (const chunked of [false, true]) expect(await statusOfUpload(gateway, fits, chunked)).toBe(200)
  })

  test('a body that is compressed: 415', async () => {
    const gateway = await startGateway(await answering())
    const [body, headers] = [gzipSync(JSON.stringify(CHAT)), { 'content-encoding': 'gzip' }]
    const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body })
    const message = 'content-encoding: expected none, got gzip'
    expect(await errorOf(response)).toMatchObject({ status: 415, message, param: 'content-encoding' })
  })

  test('another method than POST: 405, and which is allowed', async () => {
    const gateway = await startGateway(await answering())
    for (const method of ['GET', 'PUT', 'OPTIONS']) {
      const response = await fetch(`${gateway.url}/v1/chat/completions`, { method })
      expect(response.headers.get('allow')).toBe('POST')
      expect(await errorOf(response)).toMatchObject({ status: 405, code: 'method_not_allowed' })
    }
  })

  test.each([
    ['/', 'POST'],
    ['/inspect', 'PUT'],
    ['/events', 'POST'],
    ['/metrics', 'DELETE'],
    ['/healthz', 'POST'],
    ['/readyz', 'OPTIONS'],
    ['/v1/models', 'POST'],
    ['/v1/models/glm-4', 'DELETE'],
    ['/api/v1/monitoring/stats', 'POST'],
    ['/api/v1/monitoring/rate-limit-stats', 'PATCH'],
  ])('%s by %s, which only gives: 405, and which is allowed', async (path, method) => {
    const gateway = await startGateway(await answering())
    const response = await fetch(`${gateway.url}${path}`, { method })
    expect(response.headers.get('allow')).toBe('GET, HEAD')
    expect(await errorOf(response)).toMatchObject({ status: 405, code: 'method_not_allowed' })
  })

  test('an unknown path: 404 in the usual shape', async () => {
    const gateway = await startGateway(await answering())
    const error = await errorOf(await fetch(`${gateway.url}/v1/nothing`))
    expect(error).toMatchObject({ status: 404, code: 'not_found', message: 'no such endpoint: GET /v1/nothing' })
  })
})

/** Unlike fetch, it can send a length or leave it out. */
function statusOfUpload({ url }: Gateway, body: Buffer, chunked: boolean): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length }
    const upload = httpRequest(`${url}/v1/chat/completions`, { method: 'POST', headers }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    upload.on('error', reject)
    upload.end(body)
  })
}

describe('what is no chat', () => {
  const openai = (baseURL: string) => ({ fast: { provider: 'openai', baseURL, models: ['e', 'r'] } })
  const post = ({ url }: Gateway, path: string, body: object) =>
    fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body) })

  test('embeddings and responses go to the same path below the base URL of their pool', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, { path: received.path }))
    const gateway = await startGateway(upstream, { pools: openai(upstream.baseURL) })
    for (const [path, body] of [
      ['/v1/embeddings', { model: 'e', input: 'text' }],
      ['/v1/responses', { model: 'fast', input: 'text', instructions: 'be brief' }],
    ] as const) {
      const response = await post(gateway, path, body)
      expect([response.status, response.headers.get('x-headgate-outcome')]).toEqual([200, 'completed'])
    }
    expect(upstream.received.map(({ path, body }) => [path, body])).toEqual([
      ['/v4/embeddings', { model: 'e', input: 'text' }],
      ['/v4/responses', { model: 'e', input: 'text', instructions: 'be brief' }],
    ])
  })

  test('messages are for pools that speak Anthropic’s wire', async () => {
    const gateway = await startGateway(await answering())
    const response = await post(gateway, '/v1/messages', { ...CHAT, max_tokens: 5 })
    expect(response.status).toBe(404)
    expect(await response.json()).toMatchObject({ type: 'error', error: { code: 'unsupported_api' } })
  })

  test('what is refused there is refused in Anthropic’s words', async () => {
    const gateway = await startGateway(await answering())
    const refusalOf = async (body: object) => (await post(gateway, '/v1/messages', body)).json()
    expect(await refusalOf({ ...CHAT, model: 'gpt-9' })).toMatchObject({
      type: 'error',
      error: { code: 'model_not_found' },
    })
    expect(await refusalOf([])).toMatchObject({ type: 'error', error: { code: 'invalid_json' } })
  })
})

describe('the other endpoints', () => {
  test('models: everything that `model` may say', async () => {
    const pools = { fast: { provider: 'openai-compatible', baseURL: 'http://127.0.0.1:9', models: ['qwen'] } }
    const gateway = await startGateway(await answering(), { pools })
    const list = (await (await fetch(`${gateway.url}/v1/models`)).json()) as { object: string; data: unknown[] }
    expect(list.object).toBe('list')
    const rest = { object: 'model', created: 0 }
    expect(list.data).toEqual([
      { id: 'glm-4', ...rest, owned_by: 'glm' },
      { id: 'qwen', ...rest, owned_by: 'openai-compatible' },
      { id: 'glm', ...rest, owned_by: 'glm' },
      { id: 'fast', ...rest, owned_by: 'openai-compatible' },
    ])
  })

  test('alive and ready', async () => {
    const gateway = await startGateway(await answering())
    expect(await (await fetch(`${gateway.url}/healthz`)).json()).toEqual({ status: 'ok' })
    const ready = await fetch(`${gateway.url}/readyz`)
    expect([ready.status, await ready.json()]).toEqual([200, { ready: true, pools: { glm: 'synced' } }])
  })
})

describe('keys of the gateway', () => {
  const env = { HEADGATE_API_KEYS: 'key-one, key-two' }

  test.each([
    ['none', {}],
    ['a wrong one', { authorization: 'Bearer key-three' }],
    ['a part of one', { authorization: 'Bearer key' }],
    ['an empty one', { authorization: 'Bearer ' }],
    ['another scheme', { authorization: 'Basic key-one' }],
  ])('%s: 401', async (_, headers) => {
    const upstream = await answering()
    const gateway = await startGateway(upstream, { env })
    expect(await errorOf(await gateway.chat(CHAT, headers))).toMatchObject({ status: 401, code: 'invalid_api_key' })
    expect((await fetch(`${gateway.url}/v1/models`, { headers })).status).toBe(401)
    expect(upstream.received).toEqual([])
  })

  test('any of them opens; health needs none', async () => {
    const upstream = await answering()
    const gateway = await startGateway(upstream, { env })
    for (const key of ['key-one', 'key-two']) {
      expect((await gateway.chat(CHAT, { authorization: `Bearer ${key}` })).status).toBe(200)
    }
    expect(upstream.received.map(({ headers }) => headers.authorization)).toEqual([
      `Bearer ${API_KEY}`,
      `Bearer ${API_KEY}`,
    ])
    for (const path of ['healthz', 'readyz']) expect((await fetch(`${gateway.url}/${path}`)).status).toBe(200)
  })
})

describe('the log', () => {
  test('warns of an SDK that retries on its own, once', async () => {
    const gateway = await startGateway(await answering())
    for (const count of ['0', '1', '2']) await gateway.chat(CHAT, { 'x-stainless-retry-count': count })
    const warnings = gateway.log.entries.filter(({ level }) => level === 'warn')
    expect(warnings).toMatchObject([{ message: expect.stringContaining('maxRetries') }])
  })

  test('has one line for each request, without prompt, answer or key', async () => {
    const gateway = await startGateway(await answering(), { env: { HEADGATE_API_KEYS: 'key-one' } })
    const authorization = 'Bearer key-one'
    await gateway.chat(CHAT, { authorization })
    await gateway.chat('{"a very private prompt', { authorization })
    await gateway.chat({ ...CHAT, messages: 'a very private prompt' }, { authorization })
    await gateway.chat({ ...CHAT, model: 'a very private prompt' }, { authorization })
    await gateway.chat(CHAT, { authorization: 'Bearer wrong-key' })
    expect(gateway.log.requests().map(({ httpStatus, outcome, code }) => [httpStatus, outcome, code])).toEqual([
      [200, 'completed', undefined],
      [400, undefined, 'invalid_json'],
      [400, undefined, 'bad_request'],
      [404, undefined, 'model_not_found'],
      [401, undefined, 'invalid_api_key'],
    ])
    expect(gateway.log.requests()[0]).toMatchObject({ pool: 'glm', model: 'glm-4', attempts: 1, totalTokens: 4 })
    const everything = JSON.stringify(gateway.log.entries)
    for (const secret of ['private', '"hi"', 'key-one', 'wrong-key', API_KEY]) expect(everything).not.toContain(secret)
  })

  test('has one for what no endpoint takes, too: its method and its path, but nothing that may be a key', async () => {
    const gateway = await startGateway(await answering(), { env: { HEADGATE_API_KEYS: 'key-one' } })
    const ask = async (path: string, init: RequestInit = {}) => {
      const headers = { authorization: 'Bearer key-one' }
      await (await fetch(gateway.url + path, { headers, ...init })).text()
    }
    await ask('/chat/completions?key=a-private-one', { method: 'POST', body: 'a very private prompt' })
    await ask('/bot/a-private-key-in-a-path/x')
    await ask('/v1/chat/completions', { method: 'PUT', body: 'a very private prompt' })
    await ask('/v1/models/no-such-model')
    await ask('/metrics', { headers: { authorization: 'Bearer wrong-key' } })
    await ask('/api/v1/monitoring/rate-limit-stats?window_minutes=private')
    await ask('/healthz', { method: 'POST' })
    await ask('/v1/models')
    const said = { level: 'info', message: 'http request' }
    const line = (httpStatus: number, method: string, path: string, code?: string) => {
      return { ...said, details: { httpStatus, method, path, code, tookMs: expect.any(Number) } }
    }
    expect(gateway.log.entries.filter(({ level }) => level !== 'debug')).toMatchObject([
      line(404, 'POST', '/chat/completions', 'not_found'),
      line(404, 'GET', '/bot/…/x', 'not_found'),
      line(405, 'PUT', '/v1/chat/completions', 'method_not_allowed'),
      line(404, 'GET', '/v1/models/no-such-model', 'model_not_found'),
      line(401, 'GET', '/metrics', 'invalid_api_key'),
      line(400, 'GET', '/api/v1/monitoring/rate-limit-stats', 'bad_request'),
      line(405, 'POST', '/healthz', 'method_not_allowed'),
      line(200, 'GET', '/v1/models'),
    ])
    const everything = JSON.stringify(gateway.log.entries)
    for (const secret of ['private', 'key-one', 'wrong-key']) expect(everything).not.toContain(secret)
  })

  test('has none at info for who looks after the gateway', async () => {
    const gateway = await startGateway(await answering())
    for (const path of ['/healthz', '/readyz', '/metrics', '/', '/api/v1/monitoring/stats']) {
      await (await fetch(gateway.url + path)).text()
    }
    const lines = gateway.log.entries.filter(({ message }) => message === 'http request')
    expect(lines.map(({ level, details: { path } }) => [level, path])).toEqual([
      ['debug', '/healthz'],
      ['debug', '/readyz'],
      ['debug', '/metrics'],
      ['debug', '/'],
      ['debug', '/api/v1/monitoring/stats'],
    ])
  })
})
