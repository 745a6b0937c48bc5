// What becomes of the limits when Redis fails: a fleet of processes under backlog, a Redis of its own, a provider that
// keeps the log. `node bench/outage.mjs [--processes 4] [--away 30] [--json]` after a build; needs redis-server on PATH.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { startRedisServer, startSimulator, worstWindow } from 'headgate/testing'
import { Redis } from 'ioredis'
import { flags } from '../scripts/flags.mjs'

const WORKER = fileURLToPath(new URL('../test/faults/worker.mjs', import.meta.url))
const WINDOW_MS = 10_000
const LIMIT = 200
const CONCURRENCY = 16
const GUARD_MS = 100
const SLACK_MS = 25
const FULL = 0.9
/** How long before the failover what the replica knows ends. */
const LOST_TAIL_MS = 3_000
/** Watched after healing: two windows and what learning may take. */
const WATCHED_MS = 3 * WINDOW_MS

const { processes, away, json } = flags({ processes: 4, away: 30, json: false })
const AWAY_MS = away * 1_000
const note = (line) => process.stderr.write(`${line}\n`)

class Fleet {
  accepted = new Set()
  ends = []
  /** When each was last about to be sent, wall time. */
  calledMs = new Map()
  #calls = new Map()
  #last = 0

  async start(count, options) {
    this.children = Array.from({ length: count }, () => fork(WORKER, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }))
    for (const child of this.children) child.on('message', (told) => this.#hear(told))
    await this.all('open', options)
    await this.all('ready')
  }

  all(order, argument) {
    return Promise.all(
      this.children.map((child) => {
        const call = ++this.#last
        child.send({ call, order, argument })
        return new Promise((resolve, reject) => this.#calls.set(call, { resolve, reject }))
      }),
    )
  }

  #hear({ type, id, status, call, value, message, atMs }) {
    if (type === 'accepted') this.accepted.add(id)
    else if (type === 'calls') this.calledMs.set(id, atMs)
    else if (type === 'ended') this.ends.push([id, status])
    else if (type === 'done') this.#calls.get(call).resolve(value)
    else if (type === 'refused') this.#calls.get(call).reject(new Error(message))
  }

  /** Accepted requests that did not complete exactly once. */
  get lost() {
    const times = new Map([...this.accepted].map((id) => [id, 0]))
    for (const [id, status] of this.ends) if (status === 'completed') times.set(id, times.get(id) + 1)
    return [...times.values()].filter((count) => count !== 1).length
  }

  async end() {
    const gone = this.children.map((child) => child.exitCode === null && once(child, 'exit'))
    for (const child of this.children) child.kill('SIGKILL')
    await Promise.all(gone)
  }
}

/**
 * From healing until the trailing window stays full for as long as was watched; null when it never does. Longer than the
 * provider's by what guard and slack take: what comes in bursts, as here, comes again so much later.
 */
function msToFullUse(log, healedMs, untilMs) {
  const full = FULL * LIMIT
  const spanMs = WINDOW_MS + GUARD_MS + SLACK_MS
  let lastShortMs = healedMs
  for (let atMs = healedMs; atMs <= untilMs; atMs += 10) {
    const count = log.filter((arrival) => arrival.atMs <= atMs && arrival.atMs > atMs - spanMs).length
    if (count < full) lastShortMs = atMs
  }
  return lastShortMs >= untilMs - WINDOW_MS ? null : Math.round(lastShortMs - healedMs)
}

/** Runs one fault against a fleet in full use; `harm` resolves when all is well again. */
async function measure(name, redisArgs, harm) {
  note(`${name} …`)
  const redis = await startRedisServer({ args: redisArgs })
  const admin = new Redis(redis.url)
  admin.on('error', () => {})
  const provider = await startSimulator({ profile: 'openai', latencyMs: 50 })
  const fleet = new Fleet()
  const limits = { requests: { limit: LIMIT, per: WINDOW_MS }, concurrency: CONCURRENCY }
  const pool = {
    provider: 'openai',
    apiKey: 'any',
    baseURL: provider.baseURL,
    limits,
    guardMs: GUARD_MS,
    slackMs: SLACK_MS,
  }
  try {
    await fleet.start(processes, {
      redis: redis.url,
      pools: { p: pool },
      queue: { maxQueued: 20, maxActive: 100 },
    })
    await fleet.all('load')
    await sleep(WINDOW_MS + LOST_TAIL_MS)
    await harm({ redis, admin })
    const healedMs = performance.now()
    await sleep(WATCHED_MS)
    const untilMs = performance.now()
    await fleet.all('rest')
    const giveUpMs = performance.now() + 12 * WINDOW_MS
    while (fleet.ends.length < fleet.accepted.size && performance.now() < giveUpMs) await sleep(50)
    const { log } = provider
    return {
      fault: name,
      requests: fleet.accepted.size,
      worstWindowRatio: worstWindow(log, WINDOW_MS, () => 1) / LIMIT,
      /** Beyond the guard nothing is promised: then the machine was too busy to measure on. */
      latestArrivalMs: Math.max(...log.map(({ id, wallMs }) => wallMs - (fleet.calledMs.get(id) ?? wallMs))),
      maxInFlight: Math.max(...log.map(({ inFlight }) => inFlight)),
      lost: fleet.lost,
      fullUseAfterMs: msToFullUse(log, healedMs, untilMs),
    }
  } finally {
    await fleet.end()
    admin.disconnect()
    await redis.stop()
    await provider.close()
  }
}

async function goneFor({ redis }, awayMs) {
  await redis.kill('SIGKILL')
  await sleep(awayMs)
  await redis.restart()
}

const KEPT = ['--appendonly', 'yes', '--appendfsync', 'always']
const seconds = AWAY_MS / 1_000
const rows = [
  await measure(`Redis gone ${seconds} s, state kept`, KEPT, (parts) => goneFor(parts, AWAY_MS)),
  await measure(`Redis gone ${seconds} s, back empty`, [], (parts) => goneFor(parts, AWAY_MS)),
  await measure('FLUSHALL', [], ({ admin }) => admin.flushall()),
  await measure(`failover, the last ${LOST_TAIL_MS / 1_000} s lost`, [], async (parts) => {
    await parts.admin.save()
    await sleep(LOST_TAIL_MS)
    await goneFor(parts, 0)
  }),
]
if (json) process.stdout.write(`${JSON.stringify({ processes, rows })}\n`)
else {
  const table = new Table({
    head: ['fault', 'requests', 'worst window', 'latest arrival', 'most in flight', 'lost', 'full use after'],
  })
  for (const { fault, requests, worstWindowRatio, maxInFlight, latestArrivalMs, lost, fullUseAfterMs } of rows) {
    const after = fullUseAfterMs === null ? 'never' : `${(fullUseAfterMs / 1_000).toFixed(1)} s`
    table.push([
      fault,
      requests,
      `${worstWindowRatio.toFixed(3)} of ${LIMIT}`,
      `${latestArrivalMs} ms, guard ${GUARD_MS}`,
      `${maxInFlight} of ${CONCURRENCY}`,
      lost,
      after,
    ])
  }
  process.stdout.write(`${table}\n`)
}
