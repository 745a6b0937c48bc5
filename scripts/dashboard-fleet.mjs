// A small fleet to look at: gateways over one Redis, in front of simulated providers, under a load that never rests. For the
// screenshots and the dashboard's bench; needs the build, and redis-server on PATH.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
const WORDS = 'river stone water gate reed heron willow tide'.split(' ')

/** Starts `gateways` processes with `config` over a Redis of their own. `posts` sends a completion to one of them in turn. */
export async function startFleet({ gateways, config, tenants }) {
  const { startRedisServer } = await import('../dist/testing.js')
  const redis = await startRedisServer()
  const dir = mkdtempSync(join(tmpdir(), 'headgate-fleet-'))
  const file = join(dir, 'headgate.json')
  writeFileSync(file, JSON.stringify({ ...config, redis: redis.url }))
  const children = []
  const urls = []
  for (let n = 0; n < gateways; n++) {
    const child = fork(CLI, ['serve', '--config', file, '--port', '0'], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      env: { ...process.env, HEADGATE_LOG_LEVEL: 'silent', HEADGATE_API_KEYS: '' },
    })
    children.push(child)
    const [message] = await once(child, 'message')
    urls.push(message.url)
  }
  let turn = 0
  const post = async (model, signal) => {
    const n = turn++
    const words = Array.from({ length: 4 + (n % 40) }, (_, index) => WORDS[(n + index) % WORDS.length])
    const headers = { 'content-type': 'application/json', 'x-headgate-tenant': tenants[n % tenants.length] }
    if (n % 9 === 0) headers['x-headgate-deadline'] = '4s'
    const body = JSON.stringify({
      model,
      max_tokens: 60,
      messages: [{ role: 'user', content: words.join(' ') }],
    })
    const url = `${urls[n % urls.length]}/v1/chat/completions`
    await fetch(url, { method: 'POST', headers, body, signal })
      .then((response) => response.arrayBuffer())
      .catch(() => {})
  }
  return {
    urls,
    redis,
    /** Posts at a rate that swells and ebbs by `swing` until the function it returns is called. */
    load(model, perSecond, swing = 0) {
      const controller = new AbortController()
      const startMs = Date.now()
      let owed = 0
      let lastMs = startMs
      const timer = setInterval(() => {
        const nowMs = Date.now()
        const tide = 1 + swing * Math.sin((nowMs - startMs) / 9_000)
        owed += ((nowMs - lastMs) / 1000) * perSecond * tide
        lastMs = nowMs
        for (; owed >= 1; owed--) void post(model, controller.signal)
      }, 20)
      return () => {
        clearInterval(timer)
        controller.abort()
      }
    },
    async stop() {
      for (const child of children) {
        const gone = once(child, 'exit')
        child.kill('SIGKILL')
        await gone
      }
      await redis.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
