import { describe, expect, test } from 'vitest'
import { API_KEY, COMPLETION, MESSAGES, reply, simulatorOf, startGateway, upstreamOf } from './harness.js'

const DEGRADED = '抱歉,系统繁忙,请稍后重试。'
/** What every answer that had a request carries; whole numbers of ms. */
function headgateHeaders({ headers }: Response) {
  const ms = { queued: headers.get('x-headgate-queued-ms'), waited: headers.get('x-headgate-waited-ms') }
  expect(ms).toEqual({ queued: expect.stringMatching(/^\d+$/), waited: expect.stringMatching(/^\d+$/) })
  expect(headers.get('x-headgate-request-id')).toMatch(/^[\da-f-]{36}$/)
  return [headers.get('x-headgate-outcome'), headers.get('x-headgate-attempts')]
}

describe('what the client gets for each outcome', () => {
  test('completed: the status and the body of the provider', async () => {
    const upstream = await upstreamOf((received) => reply(received, 200, COMPLETION))
    const gateway = await startGateway(upstream)
    const response = await gateway.chat()
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toMatch(/^application\/json/)
    expect(headgateHeaders(response)).toEqual(['completed', '1'])
    expect(await response.json()).toEqual(COMPLETION)
  })

  test('completed: byte for byte, also a number that no JavaScript number is', async () => {
    const text = `${JSON.stringify(COMPLETION).replace('"created":1', '"created": 12345678901234567890')}\n`
    const upstream = await upstreamOf(({ response }) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(`\ufeff${text}`),
    )
    const gateway = await startGateway(upstream)
    expect(await (await gateway.chat()).text()).toBe(text)
  })

  test("completed: a provider's own 2xx is passed on", async () => {
    const upstream = await upstreamOf((received) => reply(received, 202, COMPLETION))
    const gateway = await startGateway(upstream)
    const response = await gateway.chat()
    expect(response.status).toBe(202)
    expect(headgateHeaders(response)).toEqual(['completed', '1'])
    expect(await response.json()).toEqual(COMPLETION)
  })

  test('completed after retries', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302', 2)
    const gateway = await startGateway(simulator, {
      pool: { retry: { maxAttempts: 4, baseMs: 1, capMs: 2 } },
    })
    const response = await gateway.chat()
    expect(response.status).toBe(200)
    expect(headgateHeaders(response)).toEqual(['completed', '3'])
  })

  test('failed: the status and the error body of the provider, after the last attempt', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302', 3)
    const gateway = await startGateway(simulator, {
      pool: { retry: { maxAttempts: 3, baseMs: 1, capMs: 2 } },
    })
    const response = await gateway.chat()
    expect(response.status).toBe(429)
    expect(headgateHeaders(response)).toEqual(['failed', '3'])
    expect(await response.json()).toEqual({
      error: { code: '1302', message: '您的账户已达到速率限制,请您控制请求频率' },
    })
  })

  test('failed: the hint of the provider is passed on', async () => {
    const upstream = await upstreamOf(({ response }) => {
      response.writeHead(429, { 'retry-after': '7' }).end('{"error":{"code":"1303","message":"slow"}}')
    })
    const response = await (await startGateway(upstream)).chat()
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('7')
  })

  test('failed: a text of the provider becomes an error in the usual shape', async () => {
    const upstream = await upstreamOf(({ response }) => response.writeHead(503).end('<html>busy</html>'))
    const response = await (await startGateway(upstream)).chat()
    expect(response.status).toBe(503)
    expect(await response.json()).toEqual({
      error: { message: 'glm 503: <html>busy</html>', type: 'server_error', code: 'overloaded', param: null },
    })
  })

  test('failed: 502 when the provider did not answer at all', async () => {
    const upstream = await upstreamOf(({ response }) => response.destroy())
    const response = await (await startGateway(upstream)).chat()
    expect(response.status).toBe(502)
    expect(headgateHeaders(response)).toEqual(['failed', '1'])
    expect(await response.json()).toEqual({
      error: { message: expect.any(String), type: 'server_error', code: 'provider_error', param: null },
    })
  })

  test.each([
    ['an error', { error: { code: '1234', message: 'network' } }, 502],
    ['a filtered answer', { ...COMPLETION, choices: [{ index: 0, finish_reason: 'sensitive' }] }, 400],
  ])('failed: %s under HTTP 200 is no success', async (_, body, status) => {
    const upstream = await upstreamOf((received) => reply(received, 200, body))
    const response = await (await startGateway(upstream)).chat()
    expect(response.status).toBe(status)
    expect(headgateHeaders(response)).toEqual(['failed', '1'])
    expect(await response.json()).toMatchObject({ error: { message: expect.any(String), param: null } })
  })

  test.each([
    ['under 429', 429],
    ['under 200', 200],
  ])('failed: a 1302 %s is a 429 with a time to come back, retried and counted', async (_, status) => {
    const body = { error: { code: '1302', message: '您的账户已达到速率限制,请您控制请求频率' } }
    const upstream = await upstreamOf((received) => reply(received, status, body))
    const gateway = await startGateway(upstream, { pool: { retry: { maxAttempts: 3, baseMs: 1, capMs: 2 } } })
    const response = await gateway.chat()
    expect(response.status).toBe(429)
    expect(headgateHeaders(response)).toEqual(['failed', '3'])
    expect(response.headers.get('retry-after')).toBe('1')
    expect(await response.json()).toEqual(body)
    const stats = await (await fetch(`${gateway.url}/api/v1/monitoring/stats`)).json()
    expect(stats).toMatchObject({ pools: { glm: { provider429: { '1302': 3 } } } })
  })

  test.each([
    ['1113', 429, '300'],
    ['1305', 429, '1'],
    ['1000', 401, null],
  ])('failed: %s under HTTP 200 has the status it usually comes under', async (code, status, retryAfter) => {
    const upstream = await upstreamOf((received) => reply(received, 200, { error: { code, message: 'no' } }))
    const response = await (await startGateway(upstream)).chat()
    expect([response.status, response.headers.get('retry-after')]).toEqual([status, retryAfter])
    expect(await response.json()).toEqual({ error: { code, message: 'no' } })
  })

  test("failed: the pool's key is not shown, even when the provider quotes it", async () => {
    const message = `wrong key: ${API_KEY}`
    const upstream = await upstreamOf((received) => reply(received, 401, { error: { code: '1000', message } }))
    const gateway = await startGateway(upstream)
    const response = await gateway.chat()
    expect(response.status).toBe(401)
    expect(await response.json()).toEqual({ error: { code: '1000', message: 'wrong key: [key]' } })
  })

  test('failed: a key that is no secret takes no letters out of words', async () => {
    const body = { error: { code: '1000', message: 'unknown kind' } }
    const upstream = await upstreamOf((received) => reply(received, 400, body))
    const gateway = await startGateway(upstream, { pool: { apiKey: 'k' } })
    expect(await (await gateway.chat()).json()).toEqual(body)
  })

  test('degraded: 200 and a completion whose content is the message', async () => {
    const simulator = await simulatorOf()
    simulator.failNext('1302')
    const gateway = await startGateway(simulator, { pool: { degradedMessage: DEGRADED } })
    const response = await gateway.chat()
    expect(response.status).toBe(200)
    expect(headgateHeaders(response)).toEqual(['degraded', '1'])
    expect(response.headers.get('retry-after')).toBeNull()
    expect(await response.json()).toMatchObject({
      object: 'chat.completion',
      model: 'glm-4',
      choices: [{ index: 0, message: { role: 'assistant', content: DEGRADED }, finish_reason: 'stop' }],
    })
  })

  test('expired: 504', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const response = await gateway.chat(undefined, { 'x-headgate-deadline': '50ms' })
    expect(response.status).toBe(504)
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    expect(headgateHeaders(response)[0]).toBe('expired')
    expect(await response.json()).toEqual({
      error: {
        message: expect.stringContaining('deadline'),
        type: 'server_error',
        code: 'deadline_exceeded',
        param: null,
      },
    })
  })
})

describe('a full queue', () => {
  test('429 at once, with a whole number of seconds to come back after', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream, {
      pool: { limits: { concurrency: 1, requests: '60/1m' }, adaptive: false, queue: { maxActive: 1, maxQueued: 2 } },
    })
    const first = gateway.chat()
    await upstream.arrival(0)
    // Two find a place, one does not; which one is up to the network.
    const others = [gateway.chat(), gateway.chat(), gateway.chat()]
    const refused = await Promise.race(others)
    expect(refused.status).toBe(429)
    // Two are queued, and the limit lets one through each second.
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(2)
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/)
    expect(refused.headers.get('x-headgate-request-id')).toBeNull()
    expect(await refused.json()).toEqual({
      error: {
        message: 'pool glm: its queue is full with 2 requests',
        type: 'rate_limit_error',
        code: 'queue_full',
        param: null,
      },
    })
    for (const index of [0, 1, 2]) reply(await upstream.arrival(index), 200, COMPLETION)
    const statuses = await Promise.all([first, ...others].map(async (response) => (await response).status))
    expect(statuses.sort()).toEqual([200, 200, 200, 429])
  })
})

describe('a client that hangs up', () => {
  test('while its call is in flight: the call is cut at once', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const controller = new AbortController()
    const answer = gateway.chat(undefined, {}, controller.signal)
    const { closed, response } = await upstream.arrival(0)
    controller.abort()
    await expect(answer).rejects.toThrow('aborted')
    await closed
    expect(response.writableEnded).toBe(false)
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([{ httpStatus: 499, outcome: 'cancelled', attempts: 1 }])
  })

  test('while it waits: it is never called, and its place is free', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream, {
      pool: { limits: { concurrency: 1 }, adaptive: false, queue: { maxActive: 1, maxQueued: 1 } },
    })
    const first = gateway.chat()
    const inFlight = await upstream.arrival(0)
    const controller = new AbortController()
    const waiting = [1, 2].map(() => gateway.chat(undefined, {}, controller.signal))
    // One of the two has the only place once the other is turned away.
    expect((await Promise.race(waiting)).status).toBe(429)
    const hungUp = Promise.allSettled(waiting)
    controller.abort()
    await hungUp
    const logged = () => gateway.log.requests().some(({ httpStatus }) => httpStatus === 499)
    while (!logged()) await new Promise((resolve) => setImmediate(resolve))
    const next = gateway.chat({ model: 'glm-4', messages: MESSAGES, mark: 'next' })
    reply(inFlight, 200, COMPLETION)
    const second = await upstream.arrival(1)
    expect(second.body.mark).toBe('next')
    reply(second, 200, COMPLETION)
    expect([(await first).status, (await next).status]).toEqual([200, 200])
    expect(upstream.received).toHaveLength(2)
  })
})
