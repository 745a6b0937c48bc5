// Many streams held open through `headgate serve`, and clients that hang up: `node bench/streams.mjs [--streams 10000]
// [--seconds 60] [--every 5] [--hang-ups 1000] [--serves 2]`, after a build. Each stream gets an event every 5 seconds.
// A stream takes two open files in `serve` (see `ulimit -n`); several share the pool through a Redis of their own, which
// needs redis-server on the PATH. Prints one JSON object.
// The provider here only counts and sends: the simulator's own work would be measured besides.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { flags } from '../scripts/flags.mjs'

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
const MODEL = 'm'
const {
  streams,
  seconds,
  every,
  'hang-ups': hangUps,
  serves,
  // One process of the three: both ends of a stream would share a core with what is measured.
  names: [role],
} = flags({ streams: 10_000, seconds: 60, every: 5, 'hang-ups': 1_000, serves: 2 }, [])
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** A provider whose streams last as long as the body's `seconds` says. */
async function provide() {
  const open = new Set()
  let most = 0
  let whole = 0
  const server = createServer((incoming, response) => {
    if (incoming.url === '/count') return response.end(JSON.stringify({ open: open.size, most, whole }))
    let text = ''
    incoming.setEncoding('utf8').on('data', (part) => {
      text += part
    })
    incoming.on('end', () => {
      const stream = { response, left: JSON.parse(text).seconds, ended: false }
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.on('close', () => {
        open.delete(stream)
        if (stream.ended) whole++
      })
      open.add(stream)
      most = Math.max(most, open.size)
      response.write(eventOf(stream.left))
    })
  })
  setInterval(() => {
    for (const stream of open) {
      stream.left--
      if (stream.left > 0) {
        if (stream.left % every === 0) stream.response.write(eventOf(stream.left))
      } else if (!stream.ended) {
        stream.ended = true
        stream.response.end('data: [DONE]\n\n')
      }
    }
  }, 1_000)
  server.listen(0, '127.0.0.1', 65_535)
  await once(server, 'listening')
  process.send({ port: server.address().port })
}

function eventOf(left) {
  const choices = [{ index: 0, delta: { content: `${left} ` }, finish_reason: null }]
  return `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', model: MODEL, choices })}\n\n`
}

function startRole(role) {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), role, '--every', `${every}`], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  process.once('exit', () => child.kill('SIGKILL'))
  return child
}

/** Opens a stream; resolves with `whole` where it came to its end, else with what happened. `hangUpMs`: leaves after so long, wherever it is. */
function take(port, length, hangUpMs) {
  return new Promise((resolve) => {
    const body = JSON.stringify({
      model: MODEL,
      stream: true,
      seconds: length,
      messages: [{ role: 'user', content: 'x' }],
    })
    const call = request({ port, host: '127.0.0.1', path: '/v1/chat/completions', method: 'POST', agent: false })
    if (hangUpMs !== undefined) setTimeout(() => call.destroy(), hangUpMs)
    call.on('error', ({ code, message }) => resolve(code ?? message))
    call.on('response', (response) => {
      let tail = ''
      response.setEncoding('utf8').on('data', (text) => {
        tail = (tail + text).slice(-20)
      })
      response.on('end', () => resolve(tail.includes('[DONE]') ? 'whole' : `${response.statusCode} …${tail}`))
      response.on('error', ({ code, message }) => resolve(code ?? message))
    })
    call.end(body)
  })
}

/** Clients in a process of their own. */
function beClient() {
  process.on('message', async ({ ports, count, length, hangUp, rampMs }) => {
    const results = []
    for (let index = 0; index < count; index++) {
      results.push(take(ports[index % ports.length], length, hangUp ? Math.random() * 3_000 : undefined))
      if (index % 50 === 49) await wait((rampMs * 50) / count)
    }
    const ends = {}
    for (const end of await Promise.all(results)) ends[end] = (ends[end] ?? 0) + 1
    const { whole = 0, ...others } = ends
    process.send({ whole, others })
  })
}

const countOf = async (port) => (await fetch(`http://127.0.0.1:${port}/count`)).json()
const rssMb = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024

/** Slots that the gate holds, as its own monitoring tells. */
async function inFlightOf(port) {
  const { pools } = await (await fetch(`http://127.0.0.1:${port}/api/v1/monitoring/stats`)).json()
  return pools
}

/** Resolves with the URL of a Redis that ends with this process. */
async function startRedis(dir) {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  const redis = spawn('redis-server', ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--dir', dir], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  process.once('exit', () => redis.kill('SIGKILL'))
  return `redis://127.0.0.1:${port}/0`
}

async function startServe(config) {
  const serve = spawn(process.execPath, [CLI, 'serve', '--config', config, '--port', '0'], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, HEADGATE_LOG_LEVEL: 'error' },
  })
  process.once('exit', () => serve.kill('SIGKILL'))
  const [{ url }] = await once(serve, 'message')
  return { pid: serve.pid, port: Number(new URL(url).port) }
}

async function main() {
  const provider = startRole('provider')
  const [{ port: upstream }] = await once(provider, 'message')
  const dir = mkdtempSync(join(tmpdir(), 'headgate-streams-'))
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  const config = join(dir, 'headgate.json')
  const limits = { concurrency: Math.max(streams, hangUps) }
  const queue = { maxActive: limits.concurrency, maxQueued: limits.concurrency }
  const baseURL = `http://127.0.0.1:${upstream}`
  const pool = { provider: 'openai-compatible', apiKey: 'any', baseURL, limits, queue, guardMs: 0 }
  const redis = serves > 1 ? { redis: await startRedis(dir) } : {}
  writeFileSync(config, JSON.stringify({ ...redis, pools: { [MODEL]: pool } }))
  const gateways = []
  for (let count = 0; count < serves; count++) gateways.push(await startServe(config))
  const ports = gateways.map(({ port }) => port)
  const rssOfAll = () => gateways.reduce((sum, { pid }) => sum + rssMb(pid), 0)
  const client = startRole('client')
  const figures = { streams, seconds, every, serves }

  const idleMb = rssOfAll()
  const rampMs = Math.max(1_000, streams * 1.5)
  client.send({ ports, count: streams, length: seconds + Math.ceil(rampMs / 1000), rampMs })
  const answered = once(client, 'message')
  let most = { open: 0 }
  let heldMb = 0
  const endMs = performance.now() + rampMs + seconds * 1_000
  while (performance.now() < endMs) {
    await wait(1_000)
    const now = await countOf(upstream)
    if (now.open >= most.open) heldMb = Math.max(heldMb, rssOfAll())
    if (now.open >= most.open) most = now
  }
  const [{ whole, others }] = await answered
  Object.assign(figures, {
    heldAtOnce: most.open,
    endedWhole: whole,
    lost: streams - whole,
    others,
    kbPerStream: Math.round(((heldMb - idleMb) * 1024) / Math.max(1, most.open)),
    idleMb: Math.round(idleMb),
    heldMb: Math.round(heldMb),
  })
  process.stderr.write(`${JSON.stringify(figures)}\n`)

  if (hangUps > 0) {
    client.send({ ports, count: hangUps, length: 3_600, hangUp: true, rampMs: 1_000 })
    await once(client, 'message')
    await wait(2_000)
    const { open } = await countOf(upstream)
    // As many slots as there are, at once: one that leaked would keep one of these waiting for ever.
    client.send({ ports, count: limits.concurrency, length: 2, rampMs: Math.max(1_000, limits.concurrency) })
    const late = wait(Math.max(30_000, limits.concurrency * 6)).then(() => [{ whole: -1 }])
    const [after] = await Promise.race([once(client, 'message'), late])
    Object.assign(figures, {
      hungUp: hangUps,
      stillAtProvider: open,
      slots: limits.concurrency,
      slotsUsableAfter: after.whole,
    })
    figures.pools = await inFlightOf(ports[0])
  }
  process.stdout.write(`${JSON.stringify(figures)}\n`)
  const fine = figures.lost === 0 && (hangUps === 0 || figures.slotsUsableAfter === limits.concurrency)
  process.exit(fine ? 0 : 1)
}

if (role === 'provider') await provide()
else if (role === 'client') beClient()
else await main()
