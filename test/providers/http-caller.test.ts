import { once } from 'node:events'
import type http from 'node:http'
import net, { type AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Cut } from '../../src/request/cut.js'
import { callerOf, cleanups, echo, handClock, inputOf, serve } from './http-harness.js'

describe('a response', () => {
  test('with its status, lower-case headers and parsed body', async () => {
    const { url } = await serve(echo)
    const result = await callerOf().call(inputOf(url))
    expect(result).toMatchObject({
      type: 'response',
      socketClosed: false,
      response: {
        status: 200,
        headers: { 'x-request-id': 'r1' },
        body: {
          method: 'POST',
          url: '/v1/chat/completions?x=1',
          headers: { authorization: 'Bearer sk-very-secret-key', 'content-type': 'application/json' },
          body: '{"messages":[]}',
        },
      },
    })
  })

  test.each([
    ['\n\n\r\n\n{"ok":true}', { ok: true }],
    ['<html>oops</html>', '<html>oops</html>'],
    ['', ''],
  ])('whose body is %j', async (sent, body) => {
    const { url } = await serve((_, response) => response.writeHead(503).end(sent))
    expect(await callerOf().call(inputOf(url))).toMatchObject({ type: 'response', response: { status: 503, body } })
  })

  test('reuses its connection, and leaves no listener or timer behind', async () => {
    const { url, seen } = await serve(echo)
    const clock = handClock()
    const caller = callerOf({ clock })
    const cut = new Cut()
    for (let i = 0; i < 20; i++) expect((await caller.call(inputOf(url, { cut }))).type).toBe('response')
    expect(seen).toMatchObject({ connections: 1, requests: 20 })
    expect(cut.onMade).toBeUndefined()
    expect(clock.timers.size).toBe(0)
  })

  test('opens as many connections as there are calls in flight', async () => {
    const held: http.ServerResponse[] = []
    const { url, seen } = await serve((_, response) => {
      if (held.push(response) === 30) for (const one of held) one.end('{}')
    })
    const caller = callerOf()
    const results = await Promise.all(Array.from({ length: 30 }, () => caller.call(inputOf(url))))
    expect(results.every(({ type }) => type === 'response')).toBe(true)
    expect(seen.connections).toBe(30)
  })
})

describe('maySend', () => {
  test('refused on a new connection: not one byte arrives, and the retry takes that connection', async () => {
    const { url, seen } = await serve(echo)
    const caller = callerOf()
    let connectedWhenAsked: number | undefined
    const maySend = () => {
      connectedWhenAsked = seen.connections
      return false
    }
    expect(await caller.call(inputOf(url, { maySend }))).toEqual({ type: 'unsent' })
    expect(connectedWhenAsked).toBeDefined()
    expect(seen.bytes).toBe(0)
    const retry = await caller.call(inputOf(url, { maySend: () => seen.bytes === 0 }))
    expect(retry.type).toBe('response')
    expect(seen).toMatchObject({ connections: 1, requests: 1 })
  })

  test('refused on a connection in use: nothing is written, and it stays', async () => {
    const { url, seen } = await serve(echo)
    const caller = callerOf()
    await caller.call(inputOf(url))
    const bytesOfOne = seen.bytes
    for (let i = 0; i < 10; i++) {
      expect(await caller.call(inputOf(url, { maySend: () => false }))).toEqual({ type: 'unsent' })
    }
    await caller.call(inputOf(url))
    expect(seen).toMatchObject({ connections: 1, requests: 2, bytes: 2 * bytesOfOne })
  })

  test('is asked once, after the connection stands and before the request is seen', async () => {
    const { server, url, seen } = await serve(echo)
    const order: string[] = []
    server.prependListener('request', () => order.push('request'))
    const maySend = () => {
      order.push('asked')
      return true
    }
    const caller = callerOf()
    await caller.call(inputOf(url, { maySend }))
    await caller.call(inputOf(url, { maySend }))
    expect(order).toEqual(['asked', 'request', 'asked', 'request'])
    expect(seen.connections).toBe(1)
  })

  test('is not asked of a cancelled call', async () => {
    const { url, seen } = await serve(echo)
    let asked = 0
    const cut = new Cut()
    cut.make()
    const input = inputOf(url, { cut, maySend: () => ++asked > 0 })
    expect(await callerOf().call(input)).toMatchObject({ type: 'failed', sent: false, failure: { code: 'CANCELLED' } })
    expect({ asked, ...seen }).toMatchObject({ asked: 0, connections: 0 })
  })
})

describe('a connection that fails', () => {
  test('refused: unsent, with the host and never the key', async () => {
    const { server, url, host } = await serve(echo)
    await new Promise((resolve) => server.close(resolve))
    const result = await callerOf().call(inputOf(url))
    const message = `the connection to ${host} failed (ECONNREFUSED)`
    expect(result).toMatchObject({ type: 'failed', sent: false, failure: { class: 'NET', retryable: true, message } })
    expect(JSON.stringify(result)).not.toContain('secret')
  })

  test.each([
    ['cut before the answer', ''],
    ['cut in the middle of the answer', 'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"half":'],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n'],
  ])('%s: sent', async (_, answer) => {
    const server = net.createServer((socket) => {
      socket.on('error', () => undefined).once('data', () => socket.end(answer))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanups.push(() => new Promise((resolve) => server.close(resolve)))
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const result = await callerOf().call(inputOf(`http://${host}/`))
    expect(result).toMatchObject({ type: 'failed', sent: true, failure: { class: 'NET', retryable: true } })
    expect(result.type === 'failed' && result.failure.message).toContain(host)
  })

  test('an answer that is too long is cut, and not retried', async () => {
    const { url, host } = await serve((_, response) => response.end('x'.repeat(5_000)))
    const result = await callerOf({ maxResponseBytes: 4_096 }).call(inputOf(url))
    const message = `the answer of ${host} is longer than 4096 bytes`
    expect(result).toMatchObject({ type: 'failed', sent: true, failure: { retryable: false, message } })
  })

  test.each(['not a URL', 'ftp://example.com/', ''])('URL %j is a bad request', async (url) => {
    expect(await callerOf().call(inputOf(url))).toMatchObject({
      type: 'failed',
      sent: false,
      failure: { class: 'BAD' },
    })
  })

  test('a key that makes no header is a bad request, and stays out of the message', async () => {
    const { url, seen } = await serve(echo)
    const result = await callerOf().call(inputOf(url, { headers: { authorization: 'Bearer sk-secret\nkey' } }))
    expect(result).toMatchObject({ type: 'failed', sent: false, failure: { class: 'BAD', retryable: false } })
    expect(JSON.stringify(result)).not.toContain('secret')
    expect(seen.requests).toBe(0)
  })
})
