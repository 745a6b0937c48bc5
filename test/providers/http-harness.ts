// A real local provider and callers for the tests of HttpCaller; both end with each test.
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach } from 'vitest'
import { type HttpCall, HttpCaller, type HttpCallerOptions } from '../../src/providers/http-caller.js'
import { Cut } from '../../src/request/cut.js'

export const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

export function callerOf(options: HttpCallerOptions = {}): HttpCaller {
  const caller = new HttpCaller(options)
  cleanups.push(() => caller.close())
  return caller
}

/** A provider that counts connections and every byte that arrives. */
export async function serve(handler: http.RequestListener) {
  const sockets: Socket[] = []
  const seen = {
    requests: 0,
    sockets,
    get connections() {
      return sockets.length
    },
    get bytes() {
      return sockets.reduce((sum, socket) => sum + socket.bytesRead, 0)
    },
  }
  const server = http.createServer((request, response) => {
    seen.requests++
    handler(request, response)
  })
  server.on('connection', (socket) => sockets.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { server, seen, host, url: `http://${host}/v1/chat/completions?x=1` }
}

/** Unlike `once`, it does not mind the reset that comes before. */
export const closeOf = (socket: Socket) => new Promise<void>((resolve) => socket.once('close', () => resolve()))

export const inputOf = (url: string, more: Partial<HttpCall> = {}): HttpCall => ({
  url,
  headers: { authorization: 'Bearer sk-very-secret-key' },
  body: '{"messages":[]}',
  timeoutMs: 60_000,
  cut: new Cut(),
  maySend: () => true,
  ...more,
})

/** The calls' timers, fired by hand. */
export function handClock() {
  const timers = new Set<() => void>()
  return {
    timers,
    fire: () => {
      for (const timer of [...timers]) timer()
    },
    setTimeout: (fn: () => void) => {
      timers.add(fn)
      return fn
    },
    clearTimeout: (handle: unknown) => {
      timers.delete(handle as () => void)
    },
  }
}

export function echo(request: http.IncomingMessage, response: http.ServerResponse): void {
  const chunks: Buffer[] = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    response.setHeader('X-Request-Id', 'r1').setHeader('content-type', 'application/json')
    const { method, url, headers } = request
    response.end(JSON.stringify({ method, url, headers, body: Buffer.concat(chunks).toString() }))
  })
}
