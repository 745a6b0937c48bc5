import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { describe, expect, test } from 'vitest'
import { startServer } from '../../src/surfaces/gateway/serve.js'
import { startRedisServer } from '../../src/testing/index.js'
import { COMPLETION, cleanups, LogBook, MESSAGES, reply, simulatorOf, startGateway, upstreamOf } from './harness.js'

const config = { pools: { glm: { provider: 'glm', apiKey: 'k', models: ['glm-4'] } } }

describe('starting', () => {
  test('a port in use is said', async () => {
    const upstream = await upstreamOf()
    const port = Number(new URL(upstream.baseURL).port)
    const start = startServer({ config, port, host: '127.0.0.1', env: {}, logger: new LogBook() })
    await expect(start).rejects.toMatchObject({ message: `port ${port} on 127.0.0.1 is in use` })
  })

  test('an address that is not ours is said', async () => {
    const start = startServer({
      config,
      port: 0,
      host: '192.0.2.1',
      env: { HEADGATE_API_KEYS: 'k1' },
      logger: new LogBook(),
    })
    await expect(start).rejects.toMatchObject({ message: "port 0 on 192.0.2.1 can't be listened on: EADDRNOTAVAIL" })
  })

  test.each(['0.0.0.0', '::', '192.0.2.1', 'example.com'])('%s without keys is refused', async (host) => {
    for (const env of [{}, { HEADGATE_API_KEYS: ' , ' }]) {
      const start = startServer({ config, port: 0, host, env, logger: new LogBook() })
      await expect(start).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('HEADGATE_API_KEYS'),
      })
    }
  })

  test('off loopback with keys', async () => {
    const env = { HEADGATE_API_KEYS: 'k1' }
    const server = await startServer({ config, port: 0, host: '0.0.0.0', env, logger: new LogBook() })
    cleanups.push(() => server.close())
    const { port } = new URL(server.url)
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200)
    expect((await fetch(`http://127.0.0.1:${port}/v1/models`)).status).toBe(401)
  })

  test('a config that is wrong is said before anything starts', async () => {
    const wrong = { pools: { glm: { provider: 'glm', limits: { concurrency: 0 } } } }
    const start = startServer({ config: wrong, port: 0, host: '127.0.0.1', env: {}, logger: new LogBook() })
    await expect(start).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

describe('readiness', () => {
  test('503 while Redis is gone, and 200 when it is back; alive all the time', async () => {
    const redis = await startRedisServer()
    cleanups.push(() => redis.stop())
    const { baseURL } = await simulatorOf()
    const gateway = await startGateway({ baseURL }, { redis: redis.url })
    const until = async (status: number) => {
      for (;;) {
        const response = await fetch(`${gateway.url}/readyz`)
        if (response.status === status) return response.json()
        await response.body?.cancel()
      }
    }
    expect(await until(200)).toEqual({ ready: true, pools: { glm: 'synced' } })
    await redis.kill()
    expect(await until(503)).toMatchObject({
      ready: false,
      reason: expect.stringMatching(/^this process may send nothing: /),
      pools: { glm: expect.any(String) },
    })
    expect((await fetch(`${gateway.url}/healthz`)).status).toBe(200)
    await redis.restart()
    expect(await until(200)).toMatchObject({ ready: true })
    expect((await gateway.chat()).status).toBe(200)
  })
})

describe('closing', () => {
  test('what was accepted ends, what comes later is turned away, and nothing is left open', async () => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream)
    const accepted = gateway.chat()
    const inFlight = await upstream.arrival(0)
    // Connected before the end, with a body still to come.
    const late = httpRequest(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { expect: '100-continue' },
    })
    late.flushHeaders()
    await once(late, 'continue')
    const closed = gateway.close()
    await expect(fetch(`${gateway.url}/healthz`)).rejects.toThrow('fetch failed')
    late.end(JSON.stringify({ model: 'glm-4', messages: MESSAGES }))
    const [refused] = (await once(late, 'response')) as [IncomingMessage]
    expect([refused.statusCode, refused.headers['retry-after']]).toEqual([503, '1'])
    expect(refused.headers.connection).toBe('close')
    let text = ''
    for await (const chunk of refused) text += chunk
    expect(JSON.parse(text)).toMatchObject({ error: { code: 'draining', type: 'server_error' } })
    reply(inFlight, 200, COMPLETION)
    const answer = await accepted
    expect([answer.status, answer.headers.get('connection')]).toEqual([200, 'close'])
    await closed
    expect(gateway.close()).toBe(gateway.close())
  })
})
