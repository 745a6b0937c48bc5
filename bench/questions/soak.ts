import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Pool } from 'undici'
import { startServer } from '../../src/surfaces/gateway/serve.js'
import { functionGate } from '../harness/gate.js'
import { heapUsed } from '../harness/heap.js'
import { keepOutstanding } from '../harness/load.js'
import type { Bench, Metrics, Question } from '../harness/question.js'

/** Times `--seconds`: ten minutes if nobody says anything. */
const LONG = 120
const QUICK_SECONDS = 20
const SAMPLES = 42
const TENANTS = 1_000
const IN_FLIGHT = 200
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

interface Job {
  readonly seconds: number
  readonly url: string
}

/**
 * Keeps so many in flight, and between two loads weighs what is left when none is. Least squares over each third: what is
 * filled once (compiled code, caches, the minutes of the statistics, which are kept for an hour) grows ever slower, what
 * leaks does not.
 */
async function weighed(seconds: number, once: (index: number) => Promise<unknown>): Promise<Metrics> {
  const samples: [count: number, bytes: number][] = []
  let requests = 0
  for (let i = 0; i < SAMPLES; i++) {
    const load = keepOutstanding(IN_FLIGHT, () => once(requests++))
    await Promise.race([load.over, new Promise((resolve) => setTimeout(resolve, (seconds * 1_000) / SAMPLES))])
    await load.stop()
    samples.push([requests, await heapUsed()])
  }
  const third = SAMPLES / 3
  return {
    requests,
    firstMB: samples[third]![1] / 1e6,
    lastMB: samples.at(-1)![1] / 1e6,
    firstThird: slope(samples.slice(0, third)),
    secondThird: slope(samples.slice(third, 2 * third)),
    lastThird: slope(samples.slice(2 * third)),
  }
}

/** Least squares. */
function slope(points: readonly (readonly [number, number])[]): number {
  const mean = (of: 0 | 1) => points.reduce((sum, point) => sum + point[of], 0) / points.length
  const [x, y] = [mean(0), mean(1)]
  const covariance = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0)
  return covariance / points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0)
}

/** Through a gate on Redis: one in ten fails first and is tried again, one in twenty is cancelled, a thousand tenants. */
async function library({ seconds, url }: Job): Promise<Metrics> {
  const limits = { requests: { limit: 1_000_000, per: '10s' }, concurrency: 2 * IN_FLIGHT } as const
  const gate = await functionGate(['p'], limits, { redis: url, cache: { ttl: '1m', maxEntries: 1_000 } })
  const measured = await weighed(seconds, async (index) => {
    const aborter = new AbortController()
    const { signal } = aborter
    const work = async ({ attempt }: { attempt: number }) => {
      if (index % 20 === 0) aborter.abort()
      if (index % 10 === 1 && attempt === 1) throw Object.assign(new Error('busy'), { status: 500, retryAfterMs: 1 })
      return index
    }
    await gate.run({ pool: 'p', tenant: `t${index % TENANTS}`, estimatedTokens: 10, signal }, work).catch(() => {})
  })
  await gate.close()
  return measured
}

/** Through `serve` over real HTTP, every third a stream; an upstream in the same process answers at once. */
async function gateway({ seconds, url }: Job): Promise<Metrics> {
  const upstream = createServer((request, response) => {
    let text = ''
    request.on('data', (part) => {
      text += part
    })
    request.on('end', () => (JSON.parse(text).stream ? stream(response) : response.end(ANSWER)))
  })
  upstream.listen(0, '127.0.0.1')
  await once(upstream, 'listening')
  const baseURL = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1`
  const limits = { requests: { limit: 1_000_000, per: '10s' }, concurrency: 2 * IN_FLIGHT } as const
  const pools = { m: { provider: 'openai-compatible', baseURL, apiKey: 'none', limits } }
  const config = { redis: url, pools }
  const server = await startServer({ config, port: 0, host: '127.0.0.1', env: {}, logger: SILENT })
  const client = new Pool(server.url, { connections: IN_FLIGHT })
  const headers = { 'content-type': 'application/json' }
  const measured = await weighed(seconds, async (index) => {
    const body = JSON.stringify({
      model: 'm',
      messages: [{ role: 'user', content: `${index}` }],
      stream: index % 3 === 0,
    })
    const answer = await client.request({ method: 'POST', path: '/v1/chat/completions', headers, body })
    const text = await answer.body.text()
    if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}: ${text}`)
  })
  await client.close()
  await server.close()
  upstream.close()
  return measured
}

const HEAD = { id: 'c', created: 1, model: 'm' }
const USAGE = { prompt_tokens: 5, completion_tokens: 1, total_tokens: 6 }
const choice = (part: object) => [{ index: 0, finish_reason: 'stop', ...part }]
const MESSAGE = { role: 'assistant', content: 'word' }
const ANSWER = JSON.stringify({
  ...HEAD,
  object: 'chat.completion',
  choices: choice({ message: MESSAGE }),
  usage: USAGE,
})
const CHUNK = { ...HEAD, object: 'chat.completion.chunk', choices: choice({ delta: MESSAGE }), usage: USAGE }

function stream(response: import('node:http').ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  response.write(`data: ${JSON.stringify(CHUNK)}\n\n`)
  response.end('data: [DONE]\n\n')
}

const run = (task: string) => async (bench: Bench) =>
  bench.withRedis(({ url }) =>
    bench.child<Metrics>(task, { url, seconds: bench.quick ? QUICK_SECONDS : LONG * bench.seconds }),
  )

export const soak: Question = {
  name: 'soak',
  what: `Heap under load for ten minutes (${LONG} × --seconds; --quick: ${QUICK_SECONDS} s), Redis, ${TENANTS} tenants, retries and cancellations`,
  metrics: {
    requests: 'in all',
    firstMB: 'heap in use after a third of the time, nothing in flight, MB',
    lastMB: 'and at the end, MB',
    firstThird: 'growth in the first third of the time, bytes a request: compiled code, caches',
    secondThird: 'in the second',
    lastThird: 'in the last',
  },
  tasks: { library, gateway },
  cases: [
    { name: 'headgate', side: 'headgate', run: run('library') },
    { name: 'headgate serve', side: 'headgate', run: run('gateway') },
  ],
  goals: [
    { what: 'no growth: ≤ 1 byte a request', value: (look) => look('headgate', 'lastThird'), atMost: 1 },
    { what: 'nor in serve', value: (look) => look('headgate serve', 'lastThird'), atMost: 1 },
  ],
}
