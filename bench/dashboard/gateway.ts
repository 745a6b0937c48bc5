// A gateway under a load of governed functions, which costs no HTTP: what is measured beside it is the dashboard.
import { createServer } from 'node:http'
import { resolveConfig } from '../../src/config.js'
import { createHeadgate } from '../../src/index.js'
import { DashboardFeed } from '../../src/surfaces/dashboard/feed.js'
import { gatewayListener } from '../../src/surfaces/gateway/app.js'
import { gatewayView } from '../../src/surfaces/gateway/routes.js'

const TICK_MS = 20
const TENANTS = ['web', 'web', 'batch', 'research']
const SILENT = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

/** Runs as a child: takes transitions a second, tells its URL, and on any message what it did and cost since the last. */
export function serveLoad(perSecond: number): void {
  const limits = { requests: '1000000/1m', concurrency: 200 }
  const pool = { provider: 'openai-compatible', apiKey: 'any', baseURL: 'http://127.0.0.1:9', limits }
  const retry = { maxAttempts: 3, baseMs: 50, capMs: 200 }
  const options = { pools: { large: { ...pool, retry }, small: { ...pool, retry, limits: { concurrency: 40 } } } }
  const gate = createHeadgate(options)
  let transitions = 0
  gate.on('transition', () => {
    transitions++
  })
  const feed = new DashboardFeed(gate)
  const server = createServer(gatewayListener(gate, gatewayView(resolveConfig(options), {}), SILENT, feed))
  let sent = 0
  // Most requests take four transitions, a retry two more: the load follows what was counted.
  let toGo = 0
  let lastMs = performance.now()
  setInterval(() => {
    const nowMs = performance.now()
    toGo += ((nowMs - lastMs) / 1000) * perSecond
    lastMs = nowMs
    for (; toGo > 0; toGo -= 4.2) void request(sent++)
  }, TICK_MS)
  const request = async (n: number) => {
    const name = n % 4 === 0 ? 'small' : 'large'
    const work = async ({ attempt }: { attempt: number }) => {
      await new Promise((resolve) => setTimeout(resolve, 20 + (n % 13) * 10))
      if (n % 10 === 0 && attempt === 1) throw Object.assign(new Error('busy'), { status: 500 })
    }
    await gate.run({ pool: name, tenant: TENANTS[n % TENANTS.length]! }, work).catch(() => {})
  }
  let cpu = process.cpuUsage()
  process.on('message', () => {
    const { user, system } = process.cpuUsage(cpu)
    cpu = process.cpuUsage()
    process.send!({
      transitions,
      cpuMs: (user + system) / 1000,
      rssMB: Math.round(process.memoryUsage.rss() / 2 ** 20),
    })
    transitions = 0
  })
  process.on('disconnect', () => process.exit())
  server.listen(0, '127.0.0.1', () => {
    const address = server.address() as { port: number }
    process.send!({ url: `http://127.0.0.1:${address.port}` })
  })
}
