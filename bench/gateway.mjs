// What `headgate serve` costs on the way, on loopback: beside a bare undici proxy and npm's @portkey-ai/gateway (installed into a
// cache of its own, for this alone), in one run, each as a process pinned to one core, in front of the same bare upstream.
//   node bench/gateway.mjs [--seconds 6] [--only headgate,proxy,portkey] [--json]
// Goals: at 1,000 requests/s over 50 connections p50 ≤ 1 ms and p99 ≤ 5 ms above calling the upstream directly; ≥ 3 times Portkey's
// and ≥ 0.4 times the proxy's requests for a second of CPU; a stream's first byte ≤ 2 ms later.
// Each is asked the same in the same order: 2 s at 1,000 requests/s from its start on (cold: V8 has compiled nothing yet), then
// 8,000 requests to warm it (20 s at most), then what is measured. What a request costs is measured in turns with a proxy of its
// own beside it, and compared turn by turn: a shared machine may be twice as fast a minute later.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { Pool } from 'undici'
import { flags } from '../scripts/flags.mjs'
import { median } from './median.mjs'

const PORTKEY = '1.15.2'
const CONNECTIONS = 50
const RATE = 1_000
const FIRST_BYTES = 400
const COLD_MS = 2_000
const WARM_REQUESTS = 8_000
const MAX_WARM_MS = 20_000
const TURNS = 7
const HZ = 100
const SELF = fileURLToPath(import.meta.url)
const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
const { seconds, only, json, names: words } = flags({ seconds: 6, only: 'headgate,proxy,portkey', json: false }, [])
const PINNED = spawnSync('taskset', ['--version']).status === 0

const BODY = JSON.stringify({
  model: 'm',
  messages: [
    { role: 'system', content: 'You are a helpful assistant.' },
    { role: 'user', content: 'Say in one sentence what a headgate of a canal is for. '.repeat(4) },
  ],
  max_tokens: 64,
})
const STREAM_BODY = JSON.stringify({ ...JSON.parse(BODY), stream: true })
const HEAD = { id: 'c1', created: 1, model: 'm' }
const ANSWER = JSON.stringify({
  ...HEAD,
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', content: 'word '.repeat(64) }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 70, completion_tokens: 64, total_tokens: 134 },
})
const chunk = (delta) =>
  `data: ${JSON.stringify({ ...HEAD, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`

/** Roles of the processes that this file is. */
const ROLES = {
  /** Answers at once; a stream's second half comes 20 ms after its first byte. */
  upstream: (port) => {
    const server = createServer((request, response) => {
      let stream = false
      request.on('data', (bytes) => {
        stream ||= bytes.includes('"stream":true')
      })
      request.on('end', () => {
        if (!stream) {
          response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(ANSWER) })
          response.end(ANSWER)
          return
        }
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(chunk({ role: 'assistant', content: 'word ' }))
        setTimeout(() => response.end(`${chunk({ content: 'word' })}data: [DONE]\n\n`), 20)
      })
    })
    server.keepAliveTimeout = 120_000
    server.listen(Number(port), '127.0.0.1')
  },
  /** The least that a proxy in Node can do: undici's `stream` into the response. */
  proxy: (port, upstream) => {
    const pool = new Pool(upstream, { connections: CONNECTIONS, pipelining: 1 })
    const server = createServer((request, response) => {
      const { 'content-type': type, 'content-length': length } = request.headers
      const headers = { 'content-type': type, ...(length && { 'content-length': length }) }
      pool
        .stream(
          { path: request.url, method: 'POST', headers, body: request, opaque: response },
          ({ statusCode, headers: own, opaque }) => {
            opaque.writeHead(statusCode, own)
            return opaque
          },
        )
        .catch(() => response.destroy())
    })
    server.keepAliveTimeout = 120_000
    server.listen(Number(port), '127.0.0.1')
  },
}
async function main() {
  const children = []
  const dir = join(tmpdir(), `headgate-bench-${process.pid}`)
  await mkdir(dir)
  pin(process.pid, 0)
  try {
    const upstreamPort = await freePort()
    const upstream = `http://127.0.0.1:${upstreamPort}`
    children.push(launch(0, [SELF, 'upstream', String(upstreamPort)]))
    await answering(`${upstream}/v1/chat/completions`)
    const direct = { url: `${upstream}/v1/chat/completions`, headers: {} }
    const results = { machine: { node: process.version, pinned: PINNED }, direct: await measure(direct) }
    const start = async (name) => {
      const { child, target } = await START[name](upstream, dir)
      children.push(child)
      await answering(target.url, target.headers)
      return { ...target, pid: child.pid, stop: () => child.kill('SIGKILL') }
    }
    for (const name of only.split(',')) {
      const its = await start(name)
      const proxy = await start('proxy')
      results[name] = await measure(its, proxy)
      for (const { stop } of [its, proxy]) stop()
    }
    report(results)
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await rm(dir, { recursive: true, force: true })
  }
}

const START = {
  proxy: async (upstream) => {
    const port = await freePort()
    const child = launch(1, [SELF, 'proxy', String(port), upstream])
    return { child, target: { url: `http://127.0.0.1:${port}/v1/chat/completions`, headers: {} } }
  },
  headgate: async (upstream, dir) => {
    const port = await freePort()
    const config = join(dir, 'headgate.json')
    // Limits that never bind: what is measured is the way, not a wait.
    const limits = { requests: '100000000/1m', tokens: '100000000000/1m', concurrency: 1_000 }
    const pool = { provider: 'openai-compatible', apiKey: 'k', baseURL: `${upstream}/v1`, models: ['m'], limits }
    await writeFile(config, JSON.stringify({ pools: { main: pool } }))
    const child = launch(1, [CLI, 'serve', '--config', config, '--port', String(port)], dir)
    return { child, target: { url: `http://127.0.0.1:${port}/v1/chat/completions`, headers: {} } }
  },
  portkey: async (upstream) => {
    const port = await freePort()
    const home = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'headgate-bench', `portkey-${PORTKEY}`)
    const server = join(home, 'node_modules/@portkey-ai/gateway/build/start-server.js')
    if (!existsSync(server)) {
      process.stderr.write(`installing @portkey-ai/gateway@${PORTKEY} into ${home}\n`)
      await mkdir(home, { recursive: true })
      const args = ['install', '--no-audit', '--no-fund', '--no-save', '--omit=dev', '--prefix', home]
      const { status } = spawnSync('npm', [...args, `@portkey-ai/gateway@${PORTKEY}`], {
        stdio: ['ignore', 'ignore', 'inherit'],
      })
      if (status !== 0) throw new Error('npm could not install it: --only headgate,proxy goes without')
    }
    const child = launch(1, [server, `--port=${port}`, '--headless'])
    const headers = {
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `${upstream}/v1`,
      authorization: 'Bearer k',
    }
    return { child, target: { url: `http://127.0.0.1:${port}/v1/chat/completions`, headers } }
  },
}

function launch(core, args, cwd = tmpdir()) {
  const [command, ...rest] = PINNED
    ? ['taskset', '-c', String(core), process.execPath, ...args]
    : [process.execPath, ...args]
  const env = { ...process.env, TRUSTED_CUSTOM_HOSTS: '127.0.0.1', NODE_ENV: 'production' }
  for (const name of Object.keys(env)) if (/_API_KEY|^REDIS_URL$/.test(name)) delete env[name]
  return spawn(command, rest, { stdio: 'ignore', cwd, env })
}

function pin(pid, core) {
  if (PINNED) spawnSync('taskset', ['-a', '-cp', String(core), String(pid)])
}

/** The same questions to everybody. */
async function measure(target, proxy) {
  const { call, close } = caller(target)
  try {
    const cold = await openLoop(call, COLD_MS)
    const warm = await closedLoop(call, MAX_WARM_MS, WARM_REQUESTS)
    const cost = proxy ? await inTurns(target, proxy) : undefined
    const latencies = await openLoop(call, (seconds * 1_000) / 2)
    const firstBytes = await firstByteTimes(call).catch((error) => {
      process.stderr.write(`${error.message}\n`)
    })
    return {
      ...cost,
      latencyMs: quantiles(latencies),
      coldLatencyMs: quantiles(cold),
      warmedBy: warm.requests,
      firstByteMs: firstBytes && quantiles(firstBytes),
    }
  } finally {
    await close()
  }
}

function caller({ url, headers: own }) {
  const { origin, pathname: path } = new URL(url)
  const pool = new Pool(origin, { connections: CONNECTIONS, pipelining: 1 })
  const headers = { 'content-type': 'application/json', ...own }
  const call = async (body, onFirst) => {
    const answer = await pool.request({ path, method: 'POST', headers, body })
    if (answer.statusCode !== 200) throw new Error(`${url}: ${answer.statusCode} ${await answer.body.text()}`)
    for await (const bytes of answer.body) onFirst?.(bytes)
  }
  return { call, close: () => pool.destroy() }
}

/** Requests for a second of CPU, and how many times as many as the proxy's in the same turn: medians. */
async function inTurns(target, proxy) {
  const [its, others] = [target, proxy].map((one) => ({ ...caller(one), pid: one.pid }))
  await closedLoop(others.call, MAX_WARM_MS, WARM_REQUESTS)
  const turn = async ({ call, pid }) => {
    const before = await cpuMs(pid)
    const { requests, ms } = await closedLoop(call, (seconds * 1_000) / TURNS)
    return { perSecond: (requests / ms) * 1_000, perCpuSecond: (requests / ((await cpuMs(pid)) - before)) * 1_000 }
  }
  const turns = []
  for (let i = 0; i < TURNS; i++) turns.push({ its: await turn(its), proxy: await turn(others) })
  await Promise.all([its.close(), others.close()])
  return {
    perSecond: Math.round(median(turns.map((one) => one.its.perSecond))),
    perCpuSecond: Math.round(median(turns.map((one) => one.its.perCpuSecond))),
    ofProxy: median(turns.map((one) => one.its.perCpuSecond / one.proxy.perCpuSecond)),
  }
}

/** As fast as 50 connections go. */
async function closedLoop(call, durationMs, maxRequests = Number.POSITIVE_INFINITY) {
  const start = performance.now()
  let requests = 0
  const worker = async () => {
    for (; performance.now() - start < durationMs && requests < maxRequests; requests++) await call(BODY)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, worker))
  return { requests, ms: performance.now() - start }
}

/** 1,000 a second, whatever becomes of them; each counts from when it was due. */
async function openLoop(call, durationMs) {
  const start = performance.now()
  const latencies = []
  const calls = []
  for (let sent = 0; sent < (durationMs / 1_000) * RATE; ) {
    for (; sent < ((performance.now() - start) / 1_000) * RATE; sent++) {
      const dueMs = start + (sent * 1_000) / RATE
      const sentMs = Math.max(dueMs, performance.now() - 1)
      calls.push(call(BODY).then(() => latencies.push(performance.now() - sentMs)))
    }
    // Asleep, not spinning: the upstream has this core, too.
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(calls)
  return latencies
}

async function firstByteTimes(call) {
  const times = []
  for (let i = 0; i < FIRST_BYTES; i += 10) {
    const one = async () => {
      const start = performance.now()
      let first
      await call(STREAM_BODY, () => {
        first ??= performance.now() - start
      })
      times.push(first)
    }
    for (let j = 0; j < 10; j++) {
      const done = one()
      if (j === 9) await done
      else await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 3))])
    }
  }
  return times
}

/** User and system time of a process and its threads. */
async function cpuMs(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / HZ
}

function quantiles(times) {
  const sorted = times.sort((a, b) => a - b)
  const at = (share) => Number(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(2))
  return { p50: at(0.5), p99: at(0.99) }
}

function report(results) {
  const { direct } = results
  if (json) {
    process.stdout.write(`${JSON.stringify(results, null, 2)}\n`)
    return
  }
  const names = ['direct', ...only.split(',')]
  const above = (name, what, q) => {
    if (!results[name][what]) return 'fails'
    const ms = results[name][what][q]
    return (name === 'direct' ? ms : ms - direct[what][q]).toFixed(2)
  }
  console.log(
    'At 1,000 requests/s, and of a stream: ms, of direct itself and of the others above it. Each was warmed alike.',
  )
  console.log(
    columns(['', 'req/s', 'req/CPU s', '× proxy', 'p50', 'p99', 'first byte p50', 'cold p50', 'cold p99', 'warmed by']),
  )
  for (const name of names) {
    const { perSecond = '', perCpuSecond = '', ofProxy, warmedBy } = results[name]
    const warm = [above(name, 'latencyMs', 'p50'), above(name, 'latencyMs', 'p99'), above(name, 'firstByteMs', 'p50')]
    const cold = [above(name, 'coldLatencyMs', 'p50'), above(name, 'coldLatencyMs', 'p99')]
    console.log(columns([name, perSecond, perCpuSecond, ofProxy?.toFixed(2) ?? '', ...warm, ...cold, warmedBy]))
  }
  const { headgate, portkey } = results
  if (headgate && portkey)
    console.log(`requests for a second of CPU: ${(headgate.ofProxy / portkey.ofProxy).toFixed(2)} × portkey`)
}

function columns([name, ...cells]) {
  return name.padEnd(9) + cells.map((cell) => String(cell).padStart(15)).join('')
}

async function answering(url, headers = {}) {
  const giveUpMs = performance.now() + 20_000
  for (;;) {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: BODY,
    }).catch(() => undefined)
    if (answer?.status === 200) return answer.text()
    if (performance.now() > giveUpMs)
      throw new Error(`${url} does not answer: ${answer && `${answer.status} ${await answer.text()}`}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function freePort() {
  const server = createNetServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

const [role, ...roleArgs] = words
if (role) ROLES[role](...roleArgs)
else await main()
