import { once } from 'node:events'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { Redis } from 'ioredis'
import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createHeadgate } from '../../src/index.js'
import { gateMetrics } from '../../src/observe/metrics.js'
import { traceGate } from '../../src/observe/tracing.js'
import { startServer } from '../../src/surfaces/gateway/serve.js'
import { startRedisServer } from '../../src/testing/index.js'
import { COMPLETION, reply, upstreamOf } from '../gateway/harness.js'

const PROMPT = 'my-most-private-prompt'
const KEY = 'sk-most-secret-key-0123456789'
const ANSWER = 'an-answer-for-one-alone'
/** Requests sent to the gateway. */
const USES = 4
const SECRETS = [PROMPT, KEY, ANSWER]

/** A provider that repeats what it was sent in everything it says: answers, refusals, errors, errors of other kinds. */
async function echo() {
  const message = { role: 'assistant', content: `${ANSWER} ${PROMPT}` }
  const told = `Incorrect API key provided: ${KEY}, in reply to ${PROMPT}`
  const answers: [number, unknown][] = [
    [200, { ...COMPLETION, choices: [{ index: 0, message, finish_reason: 'stop' }] }],
    [429, { error: { code: '1302', message: told } }],
    [200, { ...COMPLETION, choices: [{ index: 0, message, finish_reason: 'stop' }] }],
    [400, { error: { code: '1210', message: told } }],
    [401, { error: { code: '1000', message: told } }],
    [500, { error: { message: told } }],
    [200, told],
    [400, { error: { code: told, type: told, message: told } }],
  ]
  return upstreamOf((received) => {
    const [status, body] = answers.shift() ?? [500, told]
    reply(received, status, body)
  })
}

/** What a viewer gets while `use` runs: the dashboard's events, and the inspector's. */
async function watching(url: string, use: () => Promise<void>): Promise<{ dashboard: string; inspector: string }> {
  const shown = { dashboard: '', inspector: '' }
  const leaving = new AbortController()
  const feed = await fetch(`${url}/events`, { signal: leaving.signal })
  const reading = (async () => {
    for await (const piece of feed.body!.pipeThrough(new TextDecoderStream())) shown.dashboard += piece
  })().catch(() => {})
  const socket = new WebSocket(`${url.replace('http', 'ws')}/inspect`)
  socket.on('message', (data) => {
    shown.inspector += String(data)
  })
  await once(socket, 'open')
  await use()
  await vi.waitFor(() => {
    expect(shown.dashboard.split('"queuedMs"').length - 1, 'requests whose end the dashboard shows').toBe(USES)
    expect(shown.inspector.split('"status":"done"').length - 1, 'and the inspector').toBeGreaterThanOrEqual(USES)
  }, 10_000)
  leaving.abort()
  socket.terminate()
  await reading
  return shown
}

/** Every value of every key, as text. */
async function dumpOf(redis: Redis): Promise<string> {
  const parts: string[] = []
  for (const key of await redis.keys('*')) {
    const type = await redis.type(key)
    const read: Record<string, () => Promise<unknown>> = {
      string: () => redis.getBuffer(key).then((value) => value?.toString('latin1')),
      hash: () => redis.hgetall(key),
      list: () => redis.lrange(key, 0, -1),
      set: () => redis.smembers(key),
      zset: () => redis.zrange(key, '0', '-1'),
    }
    parts.push(key, JSON.stringify(await read[type]!()))
  }
  return parts.join('\n')
}

test('prompts, answers and keys are in nothing that is logged, counted, traced, stored or shown', async () => {
  const redis = await startRedisServer()
  const admin = new Redis(redis.url)
  const upstream = await echo()
  const lines: string[] = []
  const logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(line) })
  const pool = {
    provider: 'glm',
    apiKey: KEY,
    baseURL: upstream.baseURL,
    guardMs: 5,
    retry: { maxAttempts: 2, baseMs: 1, capMs: 2 },
  }
  const config = { redis: redis.url, pools: { glm: pool }, logger }
  const gate = createHeadgate(config)
  const exporter = new InMemorySpanExporter()
  traceGate(gate, { tracerProvider: new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }) })
  const metrics = gateMetrics(gate)
  const told: unknown[] = []
  gate.on('transition', (event) => told.push(event))
  gate.on('outcome', (event) => told.push(event))
  gate.on('alert', (event) => told.push(event))
  // The provider's words are for who asks for them in its own process, and for nobody else.
  gate.on('attempt-failed', ({ message, ...event }) => told.push(event))
  const server = await startServer({ config, port: 0, host: '127.0.0.1', env: {}, logger })
  onTestFinished(async () => {
    await gate.close()
    await server.close()
    admin.disconnect()
    await redis.stop()
  })
  const call = { pool: 'glm', messages: [{ role: 'user', content: PROMPT }], maxTokens: 3 }
  for (let i = 0; i < 4; i++) await (await gate.spawn(call)).outcome
  const failing = gate.run({ pool: 'glm' }, async () => {
    throw Object.assign(new Error(`${PROMPT} with ${KEY}`), { code: 'E_MINE' })
  })
  await expect(failing).rejects.toMatchObject({ code: 'PROVIDER_ERROR' })
  const body = JSON.stringify({ model: 'glm', messages: call.messages, stream: true })
  const headers = { 'content-type': 'application/json' }
  const seen = await watching(server.url, async () => {
    for (let i = 0; i < USES; i++) {
      await (await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers, body })).text()
    }
  })
  const shown: Record<string, string> = {
    ...seen,
    logs: lines.join(''),
    events: JSON.stringify(told),
    metrics: `${await metrics.text()}${await (await fetch(`${server.url}/metrics`)).text()}`,
    monitoring: JSON.stringify([await gate.monitoring(), await gate.rateLimitStats()]),
    spans: JSON.stringify(
      exporter.getFinishedSpans().map(({ name, attributes, events, status }) => [name, attributes, events, status]),
    ),
    redis: await dumpOf(admin),
  }
  for (const [where, text] of Object.entries(shown)) {
    expect(text.length, where).toBeGreaterThan(200)
    for (const secret of SECRETS) expect(text.includes(secret), `${secret} in ${where}`).toBe(false)
  }
  const entries = lines.map((line) => JSON.parse(line) as { level: number; msg: string })
  const at = (level: number) => new Set(entries.filter((entry) => entry.level === level).map(({ msg }) => msg))
  expect(at(20)).toContain('transition')
  expect(at(30)).toContain('request done')
  expect(at(30)).not.toContain('transition')
  expect(entries.filter(({ msg }) => msg === 'request done').length, 'one line a request').toBe(5 + USES)
  expect(lines.join('')).toContain('E_MINE')
})
