// What watching costs on the request path: `node bench/observation.mjs [--rounds 9] [--requests 2500] [--json]` after a build.
// CPU of the process per request that runs through all of it, with the in-process store and a call that does nothing. The
// cases take turns; each round's difference to its own run with everything off is taken, and the median of the rounds counts.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { trace } from '@opentelemetry/api'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import Table from 'cli-table3'
import { createHeadgate } from 'headgate'
import { serveInspector } from 'headgate/inspector'
import { gateMetrics } from 'headgate/metrics'
import { traceGate } from 'headgate/opentelemetry'
import { flags } from '../scripts/flags.mjs'
import { median } from './median.mjs'

const { rounds, requests, json } = flags({ rounds: 9, requests: 2_500, json: false })
const IN_FLIGHT = 64
const OFF = { monitoring: false }

/** Exports nothing, as fast as can be. */
const nowhere = { export: (_, done) => done({ code: 0 }), shutdown: async () => {}, forceFlush: async () => {} }
const recording = new BasicTracerProvider({
  spanProcessors: [new BatchSpanProcessor(nowhere, { maxQueueSize: 100_000 })],
})

/** A viewer in a process of its own, so that its CPU is not counted. */
async function watched(gate) {
  const server = await serveInspector(gate)
  const code = `import WebSocket from 'ws'; const socket = new WebSocket(process.argv[1])
    socket.on('open', () => process.stdout.write('open')).on('close', () => process.exit())`
  const viewer = spawn(process.execPath, ['--input-type=module', '-e', code, server.url], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(viewer.stdout, 'data')
  return async () => {
    const gone = once(viewer, 'exit')
    await server.close()
    await gone
  }
}

/** Options of the gate, and what is attached to it. */
const CASES = {
  'everything off': [OFF],
  'monitoring and alerts (default)': [{}],
  metrics: [OFF, (gate) => gateMetrics(gate).close],
  'tracing, no SDK': [OFF, (gate) => traceGate(gate, { tracerProvider: trace.getTracerProvider() })],
  'tracing, all recorded': [OFF, (gate) => traceGate(gate, { tracerProvider: recording })],
  'inspector, nobody looks': [{ ...OFF, inspect: true }],
  'inspector attached': [{ ...OFF, inspect: true }, watched],
}

async function run([options, attach], requests) {
  const gate = createHeadgate({ pools: { p: { provider: 'openai', limits: { requests: '1000000/1m' } } }, ...options })
  await gate.ready()
  const detach = await attach?.(gate)
  let left = requests
  const produce = async () => {
    while (left-- > 0) await gate.run({ pool: 'p', estimatedTokens: 10 }, async () => 1)
  }
  const before = process.cpuUsage()
  await Promise.all(Array.from({ length: IN_FLIGHT }, produce))
  const { user, system } = process.cpuUsage(before)
  await detach?.()
  await gate.close()
  return (user + system) / requests
}

const sorted = (numbers) => numbers.toSorted((a, b) => a - b)
const rounded = (value) => Math.round(value * 10) / 10

const samples = Object.fromEntries(Object.keys(CASES).map((name) => [name, []]))
for (const each of Object.values(CASES)) await run(each, requests / 2)
for (let round = 0; round < rounds; round++) {
  // Whoever comes first is not always the same.
  const order = Object.keys(CASES)
  order.push(...order.splice(0, round % order.length))
  for (const name of order) samples[name].push(await run(CASES[name], requests))
}
await recording.shutdown()

const off = samples['everything off']
const rows = Object.entries(samples).map(([name, all]) => {
  const more = sorted(all.map((value, round) => value - off[round]))
  const [low, high] = [more[Math.floor(rounds / 4)], more[Math.floor((3 * rounds) / 4)]]
  return { case: name, cpuUs: rounded(median(all)), moreUs: rounded(median(more)), quartiles: [low, high].map(rounded) }
})
if (json) process.stdout.write(`${JSON.stringify({ rounds, requests, rows })}\n`)
else {
  const table = new Table({
    head: ['', 'CPU µs a request', 'more than off', 'quartiles'],
    style: { head: [], border: [] },
  })
  for (const { case: name, cpuUs, moreUs, quartiles } of rows) table.push([name, cpuUs, moreUs, quartiles.join(' to ')])
  process.stdout.write(`${table}\n`)
}
