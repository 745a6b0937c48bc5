// What a client may send and take, and from where.
import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { CONNECTION_LIMITS, type ConnectionLimits, cutOffWhenStalled } from '../../src/surfaces/gateway/connections.js'
import { COMPLETION, cleanups, type Gateway, MESSAGES, reply, startGateway, upstreamOf } from './harness.js'

const answering = () => upstreamOf((received) => reply(received, 200, COMPLETION))

/** Unlike fetch, it may say any Host. */
function get(gateway: Gateway, headers: http.OutgoingHttpHeaders): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    http.get(`${gateway.url}/v1/models`, { headers }, resolve).on('error', reject)
  })
}

describe('a gateway without keys', () => {
  test.each([
    ['another name for this machine', { host: 'evil.example:8000' }],
    ['another site', { origin: 'https://evil.example' }],
    ['a page of no site', { origin: 'null' }],
    ['a name that begins like ours', { host: 'localhost.evil.example' }],
  ])('is not for %s', async (_, headers) => {
    const gateway = await startGateway(await answering())
    const response = await get(gateway, headers)
    expect(response.statusCode).toBe(403)
    response.resume()
    expect(gateway.log.requests()).toMatchObject([{ httpStatus: 403, code: 'forbidden' }])
  })

  test.each([{}, { host: 'localhost:1' }, { host: '[::1]:1' }, { origin: 'http://localhost:3000' }])(
    'is for this machine: %j',
    async (headers) => {
      const response = await get(await startGateway(await answering()), headers)
      expect(response.statusCode).toBe(200)
      response.resume()
    },
  )
})

test('a gateway with keys is for whoever has one, from anywhere, in either header', async () => {
  const gateway = await startGateway(await answering(), { env: { HEADGATE_API_KEYS: 'k1' } })
  for (const key of [{ authorization: 'Bearer k1' }, { 'x-api-key': 'k1' }]) {
    const response = await get(gateway, { host: 'gate.example', origin: 'https://app.example', ...key })
    expect(response.statusCode).toBe(200)
    response.resume()
  }
})

describe('limits of a connection', () => {
  const limited = async (limits: Partial<ConnectionLimits>) => {
    const upstream = await upstreamOf()
    const gateway = await startGateway(upstream, { connections: { ...CONNECTION_LIMITS, ...limits } })
    return { upstream, gateway }
  }
  const socketTo = async ({ url }: Gateway): Promise<Socket> => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    cleanups.push(() => socket.destroy())
    await once(socket, 'connect')
    return socket
  }
  const textOf = async (socket: Socket) => {
    let text = ''
    for await (const bytes of socket) text += bytes
    return text
  }

  test.each([
    ['no HTTP', 'a very private prompt\r\n\r\n', 400],
    [
      'a length that is no number',
      'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: private\r\n\r\n',
      400,
    ],
    ['no Host', 'GET /private HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    ['a Host that is none', 'GET / HTTP/1.1\r\nhost: a private one\r\nconnection: close\r\n\r\n', 400],
    [
      'an expectation of its own',
      'GET / HTTP/1.1\r\nhost: localhost\r\nexpect: private\r\nconnection: close\r\n\r\n',
      417,
    ],
    ['headers beyond 16 KiB', `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'private'.repeat(3_000)}\r\n\r\n`, 431],
  ])('%s: an error in the usual shape, and one line of the log', async (_, sent, status) => {
    const { gateway } = await limited({})
    const socket = await socketTo(gateway)
    socket.write(sent)
    const [head, body] = (await textOf(socket)).split('\r\n\r\n') as [string, string]
    expect(head).toMatch(new RegExp(`^HTTP/1.1 ${status} .*content-length: ${body.length}\\b`, 'is'))
    const code = { 400: 'malformed_request', 417: 'expectation_failed', 431: 'headers_too_large' }[status]
    expect(JSON.parse(body)).toMatchObject({ error: { type: 'invalid_request_error', code } })
    expect(gateway.log.requests()).toEqual([{ httpStatus: status, code }])
    expect(JSON.stringify(gateway.log.entries)).not.toContain('private')
  })

  test('HTTP/1.0 without a Host, as load balancers ask after health: served as from this machine', async () => {
    const { gateway, upstream } = await limited({})
    const ask = async (head: string, body = '') => {
      const socket = await socketTo(gateway)
      socket.write(`${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
      return textOf(socket)
    }
    expect(await ask('GET /readyz HTTP/1.0')).toMatch(/^HTTP\/1.1 200 /)
    const chat = ask('POST /v1/chat/completions HTTP/1.0', JSON.stringify({ model: 'glm-4', messages: MESSAGES }))
    reply(await upstream.arrival(0), 200, COMPLETION)
    expect(await chat).toMatch(/^HTTP\/1.1 200 .*"choices"/s)
    expect(await ask('GET /v1/models HTTP/1.0\r\norigin: https://elsewhere.example')).toMatch(/^HTTP\/1.1 403 /)
  })

  test('what is no HTTP any more after a stream has begun ends it, and says nothing into it', async () => {
    const { gateway, upstream } = await limited({})
    const socket = await socketTo(gateway)
    const body = JSON.stringify({ model: 'glm-4', messages: MESSAGES, stream: true })
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    const { response, closed } = await upstream.arrival(0)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"id":"1"}\n\n')
    const [first] = (await once(socket, 'data')) as [Buffer]
    expect(String(first)).toMatch(/^HTTP\/1.1 200 /)
    socket.write('no HTTP\r\n\r\n')
    const rest = await textOf(socket)
    await closed
    expect(rest).not.toContain('HTTP/1.1')
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([{ outcome: 'cancelled' }])
  })

  test('what is no HTTP behind a request whose answer is not there yet: its line says what its client was told', async () => {
    const { gateway, upstream } = await limited({})
    const socket = await socketTo(gateway)
    const body = JSON.stringify({ model: 'glm-4', messages: MESSAGES })
    const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n`
    socket.write(`${head}${body}`)
    await upstream.arrival(0)
    socket.write('no HTTP\r\n\r\n')
    expect(await textOf(socket)).toMatch(/^HTTP\/1.1 400 .*"code":"malformed_request"/s)
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([{ httpStatus: 400, code: 'malformed_request', outcome: 'cancelled' }])
  })

  test('headers beyond 16 KiB: 431', async () => {
    const { gateway } = await limited({})
    const response = await get(gateway, { 'x-large': 'x'.repeat(17 * 1024) })
    expect(response.statusCode).toBe(431)
    response.resume()
  })

  test('headers, or a body, that take too long to come: 408', async () => {
    const { gateway, upstream } = await limited({ headersTimeoutMs: 20, requestTimeoutMs: 40 })
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n'
    const sockets = [await socketTo(gateway), await socketTo(gateway)]
    sockets[0]!.write(head)
    sockets[1]!.write(`${head}content-length: 100\r\n\r\n{"model":`)
    for (const socket of sockets) expect(await textOf(socket)).toMatch(/^HTTP\/1.1 408 .*"code":"request_timeout"/s)
    expect(upstream.received).toEqual([])
    // Of the one whose headers were there its own line tells.
    await gateway.close()
    const told = { httpStatus: 408, code: 'request_timeout' }
    expect(gateway.log.requests()).toEqual([told, { ...told, tookMs: expect.any(Number) }])
  })

  test('who takes nothing of a stream that waits for it is cut off, and the call with it', async () => {
    const { gateway, upstream } = await limited({ stallTimeoutMs: 50 })
    const socket = await socketTo(gateway)
    const body = JSON.stringify({ model: 'glm-4', messages: MESSAGES, stream: true })
    socket.write(
      `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    socket.pause()
    const { response, closed } = await upstream.arrival(0)
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    for (let i = 0; i < 40; i++) response.write(`data: {"pad":"${'x'.repeat(1_000_000)}"}\n\n`)
    await closed
    expect(response.writableFinished).toBe(false)
    await gateway.close()
    expect(gateway.log.requests()).toMatchObject([{ outcome: 'cancelled' }])
  })

  test.each([
    [0, 0],
    [1, 1],
  ])('with %d bytes that wait to be taken a silence ends %d connections', (waiting, ended) => {
    let destroyed = 0
    const response = {
      socket: { writableLength: waiting },
      setTimeout: (_: number, onSilence: () => void) => onSilence(),
      destroy: () => destroyed++,
    }
    cutOffWhenStalled(response as unknown as ServerResponse, CONNECTION_LIMITS)
    expect(destroyed).toBe(ended)
  })
})
