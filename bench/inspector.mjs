// What Stately's inspector costs a request: CPU with nobody looking, with a viewer, and when the viewer has gone. Viewers are processes
// of their own: what they take is not the gate's cost. Rounds of all cases, so that none has the machine's better moment; medians. `node bench/inspector.mjs`, after a build.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createHeadgate } from 'headgate'
import { serveInspector } from 'headgate/inspector'
import { WebSocket } from 'ws'
import { flags } from '../scripts/flags.mjs'
import { median } from './median.mjs'

// As a child: looks at what it is told to, until it is told to stop.
if (process.send) {
  const viewer = new WebSocket(process.argv[2])
  viewer.on('message', () => {})
  viewer.once('open', () => process.send('open'))
  viewer.once('close', () => process.exit())
  process.once('message', () => viewer.close())
  await once(process, 'exit')
}

flags({})
const ROUNDS = 9
const REQUESTS = 4_000
const AT_ONCE = 50

const gateOf = (inspect) => createHeadgate({ inspect, monitoring: false, pools: { pool: POOL } })
const POOL = {
  provider: 'openai-compatible',
  baseURL: 'http://127.0.0.1:9',
  apiKey: 'any',
  limits: { concurrency: 1000 },
}

async function cpuPerRequest(gate) {
  const before = process.cpuUsage()
  for (let n = 0; n < REQUESTS; n += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => gate.run({ pool: 'pool' }, async () => {})))
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / REQUESTS
}

const off = gateOf(false)
const on = gateOf(true)
const server = await serveInspector(on)
async function watched(query, viewers = 1) {
  const children = Array.from({ length: viewers }, () =>
    fork(fileURLToPath(import.meta.url), [`${server.url}/${query}`]),
  )
  await Promise.all(children.map((child) => once(child, 'message')))
  const cpu = await cpuPerRequest(on)
  const ended = children.map((child) => once(child, 'exit'))
  for (const child of children) child.send('stop')
  await Promise.all(ended)
  return cpu
}
const CASES = {
  'inspect: false': () => cpuPerRequest(off),
  'inspect: true, nobody looks': () => cpuPerRequest(on),
  'one viewer, sample=0.1': () => watched('?sample=0.1'),
  'one viewer, every request': () => watched(''),
  'three viewers, every request': () => watched('', 3),
  'the viewer has gone': () => cpuPerRequest(on),
}
const measured = Object.fromEntries(Object.keys(CASES).map((name) => [name, []]))
for (let round = 0; round <= ROUNDS; round++) {
  // The first round warms the code up.
  for (const [name, run] of Object.entries(CASES)) {
    const cpu = await run()
    if (round > 0) measured[name].push(cpu)
  }
}
const result = Object.entries(measured).map(([name, values]) => [name, `${median(values).toFixed(1)} µs CPU a request`])
console.log(JSON.stringify(Object.fromEntries(result), null, 2))
await server.close()
await Promise.all([off.close(), on.close()])
process.exit()
