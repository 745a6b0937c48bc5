// What a grant costs Redis: `node bench/redis-cost.mjs [--json]`. Server time of the script, by `INFO commandstats`, a grant;
// on a busy machine that counts the time it had to wait for a core as well, and `cpuUsPerGrant` does not.
// Needs redis-server on PATH, or REDIS_URL (an empty one: it is flushed). Times are the script's own: it never waits.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Redis } from 'ioredis'
import { build } from 'tsdown'
import { flags } from '../scripts/flags.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const { json } = flags({ json: false })
const PROCESSES = 4
const BATCHES = [10, 50, 100]
const MEASURED_GRANTS = 20_000

/** Inside the project, so that its dependencies are found. */
async function importStore() {
  const outDir = await mkdtemp(join(ROOT, 'node_modules', '.redis-cost-'))
  try {
    await build({
      cwd: ROOT,
      config: false,
      entry: { store: 'src/limits/redis-store.ts' },
      outDir,
      format: 'esm',
      platform: 'node',
      dts: false,
      fixedExtension: true,
      loader: { '.lua': 'text' },
      logLevel: 'error',
    })
    return await import(pathToFileURL(join(outDir, 'store.mjs')).href)
  } finally {
    await rm(outDir, { recursive: true })
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

const rate = (id, dimension, limit, windowMs) => ({ id, dimension, limit, windowMs, holdMs: 200, adaptive: false })

/** Each exchange brings `batch` new waiters, a little more than what leaves the windows meanwhile: all of them are full. */
function scenarios(batch) {
  const perMinute = Math.floor(batch * 600 * 0.97)
  const group = { namespace: 'bench', group: 'g', pools: ['p'] }
  return {
    requests: {
      spec: { ...group, limits: [rate('pool:p:requests:60000', 'requests', perMinute, 60_000)], draws: [[0]] },
      tenants: ['default'],
      perToken: 0,
    },
    dimensions: {
      spec: {
        ...group,
        limits: [
          rate('pool:p:requests:60000', 'requests', perMinute, 60_000),
          rate('pool:p:requests:3600000', 'requests', perMinute * 1_000, 3_600_000),
          rate('pool:p:tokens:60000', 'tokens', perMinute * 950, 60_000),
          { ...rate('pool:p:concurrency', 'concurrency', 1_000_000, 0) },
        ],
        draws: [[0, 1, 2, 3]],
      },
      tenants: ['a', 'b', 'c', 'd', 'e'],
      perToken: 50_000,
    },
  }
}

/** A dispatcher reduced to its bookkeeping: states who waits, and settles all it was granted in its next batch. */
class Process {
  seq = 0
  epoch = ''
  version = 0
  settled = { adjustments: [], freed: [], service: [] }

  constructor(index, store, { spec, tenants, perToken }, batch, clock) {
    Object.assign(this, { id: `host-${index}.1`, store, spec, tenants, perToken, batch, clock })
    this.waiting = new Map(tenants.map((tenant) => [tenant, 0]))
  }

  flows() {
    const { tenants, perToken, spec, batch, waiting, clock } = this
    return tenants.map((tenant, index) => {
      const count = Math.min(waiting.get(tenant) + batch / tenants.length, 4 * batch)
      waiting.set(tenant, count)
      const costs = Array.from(
        { length: perToken === 0 ? 0 : Math.min(64, count) },
        (_, i) => 500 + ((i * 379) % 1_000),
      )
      return {
        ...{
          key: `p|${tenant}|normal`,
          pool: 0,
          tenant,
          tenantWeight: index + 1,
          classWeight: 2,
          draws: spec.draws[0],
        },
        ...{ base: 1_000, perToken, count, load: count * 1_000, sinceMs: clock.nowMs, costs },
      }
    })
  }

  async exchange() {
    const { settled } = this
    this.settled = { adjustments: [], freed: [], service: [] }
    const reply = await this.store.exchange({
      ...{
        processId: this.id,
        seq: ++this.seq,
        leaseMs: 10_000,
        holdUntilMs: 0,
        isolatedMs: 0,
        knownEpoch: this.epoch,
      },
      ...{
        knownVersion: this.version,
        candidateEpoch: '1-bench',
        distrust: false,
        held: [],
        floors: [],
        journal: null,
        cuts: [],
      },
      ...{ coolDowns: [], observed: [], flows: this.flows(), leave: false, ...settled },
    })
    this.epoch = reply.epoch
    this.version = reply.version
    let granted = 0
    for (const [key, ...dated] of reply.grants) {
      const tenant = key.split('|')[1]
      for (let i = 0; i < dated.length; i += 2) {
        granted++
        this.waiting.set(tenant, this.waiting.get(tenant) - 1)
        if (this.perToken > 0) this.settle(dated[i], dated[i + 1])
      }
      if (this.perToken > 0) this.settled.service.push([0, tenant, key, -200])
    }
    if (this.settled.freed.length > 0) this.settled.freed = [[3, this.settled.freed.length]]
    return granted
  }

  /** One limit's corrections of a bucket travel as one. */
  settle(atMs, tokens) {
    const bucket = Math.floor(atMs / 100)
    const known = this.settled.adjustments.find(([, its]) => its === bucket)
    if (known) known[2] -= Math.floor(tokens / 10)
    else this.settled.adjustments.push([2, bucket, -Math.floor(tokens / 10)])
    this.settled.freed.push([3, 1])
  }
}

/** The script's own time, and all the time that Redis was on a core: reading, parsing and replying too. */
async function microseconds(client) {
  const info = await client.call('INFO', 'commandstats', 'cpu')
  const [, calls, usec] = /cmdstat_evalsha:calls=(\d+),usec=(\d+)/.exec(info) ?? [0, 0, 0]
  const seconds = (kind) => Number(new RegExp(`used_cpu_${kind}:([\\d.]+)`).exec(info)[1])
  return { calls: Number(calls), usec: Number(usec), cpuUsec: (seconds('sys') + seconds('user')) * 1e6 }
}

async function measure(client, { RedisConnection, RedisStore }, scenario, batch) {
  await client.flushall()
  const clock = { nowMs: 1_700_000_000_000 }
  const connection = new RedisConnection(client)
  connection.open()
  const fleet = Array.from({ length: PROCESSES }, (_, index) => {
    const store = new RedisStore(scenario.spec, connection, () => clock.nowMs)
    return new Process(index, store, scenario, batch, clock)
  })
  let turn = 0
  // Every 100 ms, a bucket of the minute, all four ask; what has left the windows is as much as all of them get.
  const step = async () => {
    if (turn++ % PROCESSES === 0) clock.nowMs += 100 * PROCESSES
    return fleet[turn % PROCESSES].exchange()
  }
  const untilMs = clock.nowMs + 90_000
  while (clock.nowMs < untilMs) await step()
  const before = await microseconds(client)
  let granted = 0
  while (granted < MEASURED_GRANTS) granted += await step()
  const after = await microseconds(client)
  for (const { store } of fleet) await store.close()
  connection.close()
  const exchanges = after.calls - before.calls
  const usec = after.usec - before.usec
  const cpuUsec = after.cpuUsec - before.cpuUsec
  return {
    ...{ grantsPerExchange: granted / exchanges, usPerGrant: usec / granted, usPerExchange: usec / exchanges },
    cpuUsPerGrant: cpuUsec / granted,
  }
}

const round = (value) => Math.round(value * 100) / 100
const store = await importStore()
const port = process.env.REDIS_URL ? 0 : await freePort()
const server = port && spawn('redis-server', ['--port', port, '--save', '', '--appendonly', 'no'], { stdio: 'ignore' })
const client = new Redis(process.env.REDIS_URL ?? port, { retryStrategy: () => 50 })
client.on('error', () => {})
const results = []
try {
  for (const batch of BATCHES) {
    for (const [name, scenario] of Object.entries(scenarios(batch))) {
      const measured = await measure(client, store, scenario, batch)
      const values = Object.fromEntries(Object.entries(measured).map(([key, value]) => [key, round(value)]))
      results.push({ scenario: name, batch, ...values })
    }
  }
} finally {
  client.disconnect()
  if (server) server.kill('SIGKILL')
}
if (json) process.stdout.write(`${JSON.stringify({ processes: PROCESSES, results })}\n`)
else console.table(results)
