// Gateways over real HTTP, in front of a simulator or of a small upstream that keeps what it gets; all end with each test.
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach } from 'vitest'
import type { GateOptions, PoolOptions } from '../../src/config.js'
import type { ConnectionLimits } from '../../src/surfaces/gateway/connections.js'
import { type RunningServer, startServer } from '../../src/surfaces/gateway/serve.js'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/testing/index.js'

export const API_KEY = 'pool-secret-0123456789'
export const MESSAGES = [{ role: 'user', content: 'a very private prompt' }]

export const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Keeps every entry, so that a test can say what was logged, and what never. */
export class LogBook {
  readonly entries: { level: string; details: Record<string, unknown>; message: string }[] = []
  debug = this.#writer('debug')
  info = this.#writer('info')
  warn = this.#writer('warn')
  error = this.#writer('error')

  #writer(level: string) {
    return (details: object, message: string) => {
      this.entries.push({ level, details: { ...details }, message })
    }
  }

  /** As a log at level info has them: without successful reads of probes and monitoring. */
  requests(): Record<string, unknown>[] {
    return this.entries
      .filter(({ level, message }) => level !== 'debug' && message === 'http request')
      .map(({ details }) => details)
  }
}

export interface Gateway extends RunningServer {
  readonly log: LogBook
  /** Posts a chat completion; a string goes out as it is. */
  chat(body?: unknown, headers?: Record<string, string>, signal?: AbortSignal): Promise<Response>
}

export interface GatewaySetup extends Partial<Omit<GateOptions, 'pools'>> {
  /** Of the pool `glm`, whose model is `glm-4`. */
  readonly pool?: Partial<PoolOptions>
  readonly pools?: Record<string, PoolOptions>
  readonly env?: NodeJS.ProcessEnv
  readonly connections?: ConnectionLimits
}

export async function startGateway(
  { baseURL }: { readonly baseURL: string },
  { pool, pools, env = {}, connections, ...more }: GatewaySetup = {},
): Promise<Gateway> {
  const log = new LogBook()
  const retry = { maxAttempts: 1, baseMs: 1, capMs: 2 }
  const glm = { provider: 'glm', apiKey: API_KEY, baseURL, models: ['glm-4'], guardMs: 5, retry, ...pool }
  const config = { pools: { glm, ...pools }, ...more }
  const server = await startServer({
    config,
    port: 0,
    host: '127.0.0.1',
    env,
    logger: log,
    ...(connections && { connections }),
  })
  cleanups.push(() => server.close())
  return {
    ...server,
    log,
    chat: (body = { model: 'glm-4', messages: MESSAGES }, headers = {}, signal) =>
      fetch(`${server.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: typeof body === 'string' ? body : JSON.stringify(body),
        ...(signal && { signal }),
      }),
  }
}

export async function simulatorOf(options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const simulator = await startSimulator({ profile: 'glm', ...options })
  cleanups.push(() => simulator.close())
  return simulator
}

export interface Received {
  readonly path: string | undefined
  readonly headers: http.IncomingHttpHeaders
  readonly body: Record<string, unknown>
  readonly response: http.ServerResponse
  /** Resolves when the response is over, answered or not. */
  readonly closed: Promise<unknown>
}

export interface Upstream {
  readonly baseURL: string
  readonly received: Received[]
  /** Resolves with the nth request, from 0, as soon as it is there. */
  arrival(index: number): Promise<Received>
}

/** A provider that keeps what it gets, and answers as told; without a `respond` the test answers by hand. */
export async function upstreamOf(respond?: (received: Received) => void): Promise<Upstream> {
  const received: Received[] = []
  const waiting = new Map<number, (one: Received) => void>()
  const server = http.createServer(async (request, response) => {
    const closed = once(response, 'close')
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const one = {
      path: request.url,
      headers: request.headers,
      body: JSON.parse(String(Buffer.concat(chunks))),
      response,
      closed,
    }
    waiting.get(received.push(one) - 1)?.(one)
    respond?.(one)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return {
    baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v4`,
    received,
    arrival: (index) =>
      new Promise((resolve) => {
        const there = received[index]
        if (there) resolve(there)
        else waiting.set(index, resolve)
      }),
  }
}

export function reply({ response }: Received, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

export const COMPLETION = {
  id: 'up-1',
  object: 'chat.completion',
  created: 1,
  model: 'glm-4',
  choices: [{ index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 3, completion_tokens: 1, total_tokens: 4 },
  provider_extra: { kept: true },
}
