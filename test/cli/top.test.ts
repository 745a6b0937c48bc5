import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import picocolors from 'picocolors'
import stringWidth from 'string-width'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { MonitoringStats } from '../../src/monitoring.js'
import { createLogger } from '../../src/observe/logger.js'
import { plainLines, renderFleet } from '../../src/surfaces/cli/top/view.js'
import { type RunningServer, startServer } from '../../src/surfaces/gateway/serve.js'
import { type Simulator, startSimulator } from '../../src/testing/index.js'
import { type RedisServer, startRedisServer } from '../../src/testing/redis-server.js'
import { fileOf, runCli, startCli } from './cli.js'

const GATEWAY_KEY = 'gateway-secret-1'
const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

let redis: RedisServer
let simulator: Simulator
let gateway: RunningServer

beforeAll(async () => {
  redis = await startRedisServer()
  simulator = await startSimulator({ profile: 'glm' })
  const limits = { requests: '50/1m', concurrency: 5 }
  const glm = { provider: 'glm', apiKey: 'any', baseURL: simulator.baseURL, models: ['glm-4'], limits, adaptive: false }
  const alerts = { rules: [{ rule: 'provider-429' as const, above: 0 }] }
  const options = { redis: redis.url, namespace: 'watched', pools: { glm }, alerts }
  gateway = await startServer({
    config: options,
    port: 0,
    host: '127.0.0.1',
    env: { HEADGATE_API_KEYS: GATEWAY_KEY },
    logger: createLogger('silent'),
  })
  simulator.failNext('1302')
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${GATEWAY_KEY}`, 'x-headgate-tenant': 'web' },
    body: JSON.stringify({ model: 'glm-4', max_tokens: 1, messages: [{ role: 'user', content: 'hi' }] }),
  })
  expect(response.status).toBe(200)
  await response.text()
  const headers = { authorization: `Bearer ${GATEWAY_KEY}` }
  await vi.waitFor(async () => {
    const stats = await (await fetch(`${gateway.url}/api/v1/monitoring/stats`, { headers })).json()
    expect((stats as MonitoringStats).alerts).toMatchObject([{ state: 'firing' }])
  }, 15_000)
})
afterAll(async () => {
  await gateway.close()
  await simulator.close()
  await redis.stop()
})

async function configFile(namespace = 'watched'): Promise<string> {
  const glm = { provider: 'glm', models: ['glm-4'], limits: { requests: '50/1m', concurrency: 5 } }
  return fileOf('headgate.json', JSON.stringify({ redis: redis.url, namespace, pools: { glm } }))
}

describe('headgate top', () => {
  it('shows a gateway once, plain without a terminal', async () => {
    const { code, stdout, stderr } = await runCli(['top', '--url', gateway.url, '--key', GATEWAY_KEY, '--once'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^headgate {2}gateway 127\.0\.0\.1:\d+ {2}namespace watched {2}synced/)
    expect(stdout).toMatch(/\n1 process, 0 calling, 0 waiting {3}completed 1 \(100\.00 %\)/)
    expect(stdout).toMatch(
      /\nglm {3}429s\/h 1302 × 1 {3}calling 0, waiting 0 .*\n {2}requests\/1m +█+░+ +2 \/ 50 +4 %\n {2}in flight +░+ +0 \/ 5 +0 %\n/,
    )
    expect(stdout).toMatch(/\n {2}web +glm +100\.0 % +1 +\d+\n/)
    expect(stdout).toContain(` ${process.pid} `)
    expect(stdout).not.toContain('\u001b')
  })

  it('reads Redis itself as the gateway would tell it, and joins nothing', async () => {
    const fromRedis = await runCli(['top', '--config', await configFile(), '--once', '--json'])
    const fromGateway = await runCli(['top', '--url', gateway.url, '--once', '--json'], {
      HEADGATE_API_KEYS: `${GATEWAY_KEY},other`,
    })
    expect([fromRedis.code, fromGateway.code]).toEqual([0, 0])
    const [redisStats, gatewayStats] = [fromRedis, fromGateway].map(
      ({ stdout }) => JSON.parse(stdout) as MonitoringStats,
    )
    const steady = ({ generatedAt: _, processes, alerts, ...rest }: MonitoringStats) => ({
      ...rest,
      alerts: alerts.map(({ sinceMs: __, ...alert }) => alert),
      processes: processes.map(({ seenMsAgo: __, ...process }) => process),
    })
    expect(steady(redisStats!)).toEqual(steady(gatewayStats!))
    expect(redisStats!.alerts).toMatchObject([{ rule: 'provider-429', pool: 'glm', state: 'firing' }])
    expect(redisStats!.processes).toHaveLength(1)
    expect(redisStats!.state).toBe('synced')
  })

  it('does not say how a fleet stands that has no process', async () => {
    const args = ['top', '--config', await configFile('nobody'), '--once']
    expect((await runCli(args)).stdout).toMatch(/^headgate .* namespace nobody {2}no process answers .*\n0 processes,/)
    expect(JSON.parse((await runCli([...args, '--json'])).stdout)).not.toHaveProperty('state')
  })

  it('goes on in lines, one a pool and look, until it is told to stop', async () => {
    const { child, output, ended } = startCli(['top', '--config', await configFile(), '--every', '100ms'])
    while (output.stdout.split('\n').length < 4) await once(child.stdout, 'data')
    child.kill('SIGINT')
    const { code, stdout } = await ended
    expect(code).toBe(0)
    for (const line of stdout.trimEnd().split('\n')) {
      expect(line).toMatch(
        /^\d{4}-\d\d-\d\dT[\d:]+Z glm: \d+\/50 requests\/1m, 0\/5 in flight, calling 0, waiting 0, wait p99 .*, completed 1,/,
      )
    }
  })

  it('fills a terminal, and gives it back at q', async () => {
    // util-linux's script runs it on a pseudo terminal, which has a size only when told.
    const command = `stty cols 90 rows 20; exec '${process.execPath}' '${CLI}' top --url ${gateway.url} --every 100ms`
    const child = spawn('script', ['-qfec', command, '/dev/null'], {
      env: { PATH: process.env.PATH, TERM: 'xterm-256color', HEADGATE_API_KEYS: GATEWAY_KEY },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    onTestFinished(() => {
      child.kill('SIGKILL')
    })
    let screen = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      screen += text
    })
    while (!screen.includes('PROCESS')) await once(child.stdout, 'data')
    expect(screen).toContain('\u001b[?1049h')
    expect(screen).toContain('\u001b[1mheadgate')
    child.stdin.write('q')
    const [code] = await once(child, 'close')
    expect(code).toBe(0)
    expect(screen.trimEnd().endsWith('\u001b[?1049l')).toBe(true)
  })

  it.each([
    ['no key', () => ['--url', gateway.url], 'asks for a key: set HEADGATE_API_KEYS, or pass --key'],
    ['a wrong key', () => ['--url', gateway.url, '--key', 'wrong'], 'does not take the key of --key'],
    ['a key that no header takes', () => ['--url', gateway.url, '--key', '钥匙'], '--key: expected a key of printable'],
    ['a URL with a password', () => ['--url', 'http://me:secret@h/'], 'pass a key with --key'],
    ['no gateway', () => ['--url', redis.url.replace('redis', 'http')], 'does not answer'],
    ['no URL', () => ['--url', 'nonsense'], 'expected an http or https URL'],
    ['no Redis in the config', () => ['--redis'], 'no Redis is configured'],
  ])('says what is wrong: %s', async (_, flags, message) => {
    const { code, stdout, stderr } = await runCli(['top', '--once', ...flags()])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  })
})

describe('headgate top of what is no gateway', () => {
  /** Answers everything so. */
  async function serverOf(status: number, headers: Record<string, string>, body: string): Promise<string> {
    return serve((_, response) => response.writeHead(status, headers).end(body))
  }

  async function serve(listener: http.RequestListener): Promise<string> {
    const server = http.createServer(listener).listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  it.each([
    [
      'a web page',
      200,
      { 'content-type': 'text/html; charset=utf-8' },
      '<!doctype html>\n<title>\u001b[31mRouter</title>',
      'expected its figures as JSON at /api/v1/monitoring/stats, got text/html: <!doctype html> <title> [31mRouter</title>',
    ],
    [
      'JSON of another kind',
      200,
      { 'content-type': 'application/json' },
      '{"ok":true}',
      'got application/json: {"ok":true}',
    ],
    ['an empty answer', 204, {}, '', 'got no content type: nothing'],
    [
      'a redirect',
      302,
      { location: 'https://sso.example/' },
      '',
      'redirects (302) to https://sso.example/: pass that as --url',
    ],
    [
      'a refusal',
      403,
      {},
      '{"error":{"message":"Host evil: set HEADGATE_API_KEYS to serve others"}}',
      'refuses (403): Host evil: set',
    ],
    ['an error', 502, {}, '<h1>Bad gateway</h1>', 'answers 502: <h1>Bad gateway</h1>'],
    ['another API', 404, {}, '{}', 'has no monitoring API'],
  ])('says so: %s', async (_, status, headers, body, message) => {
    const url = await serverOf(status, headers as Record<string, string>, body)
    const { code, stdout, stderr } = await runCli(['top', '--once', '--url', url])
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain(message)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  })

  it('goes through a proxy that serves the gateway below a path', async () => {
    const proxy = await serve(async ({ url = '', headers: { authorization = '' } }, response) => {
      if (!url.startsWith('/headgate/')) return response.writeHead(404).end()
      const answer = await fetch(gateway.url + url.slice('/headgate'.length), { headers: { authorization } })
      return response.writeHead(answer.status).end(await answer.text())
    })
    const { stdout } = await runCli(['top', '--once', '--url', `${proxy}/headgate/`, '--key', GATEWAY_KEY])
    expect(stdout).toMatch(/^headgate {2}gateway 127\.0\.0\.1:\d+\/headgate {2}namespace watched/)
  })
})

describe('headgate top while its gateway restarts', () => {
  it.each([
    ['a page with status 200', 200, 'got text/html: <p>Restarting</p>'],
    ['a proxy that knows nobody', 404, 'has no monitoring API'],
    ['a proxy that finds nobody', 502, 'answers 502'],
    ['a redirect', 302, 'redirects (302)'],
  ])('tries again, and says so: %s', async (_, status, said) => {
    let looks = 0
    const proxy = http
      .createServer(async ({ url, headers: { authorization = '' } }, response) => {
        if (++looks === 2) return response.writeHead(status, { 'content-type': 'text/html' }).end('<p>Restarting</p>')
        const answer = await fetch(gateway.url + url, { headers: { authorization } })
        return response.writeHead(answer.status).end(await answer.text())
      })
      .listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    onTestFinished(() => {
      proxy.closeAllConnections()
      proxy.close()
    })
    const { port } = proxy.address() as AddressInfo
    const args = ['top', '--url', `http://127.0.0.1:${port}`, '--key', GATEWAY_KEY, '--every', '100ms']
    const { child, output, ended } = startCli(args)
    while (output.stdout.split('\n').length < 3 && child.exitCode === null) {
      await Promise.race([once(child.stdout, 'data'), ended])
    }
    child.kill('SIGINT')
    const { code, stderr } = await ended
    expect(code).toBe(0)
    expect(stderr).toContain(said)
    expect(stderr).toMatch(/; trying again\n/)
  })
})

describe('the view', () => {
  const counts = { completed: 7, degraded: 0, failed: 1, cancelled: 0, expired: 0 }
  const times = { mean: 100, p50: 100, p90: 900, p99: 65_000 }
  const stats: MonitoringStats = {
    generatedAt: '2026-01-01T12:00:00.000Z',
    namespace: 'headgate',
    store: 'redis',
    scope: 'process',
    state: 'isolated',
    isolated: true,
    processes: [
      { name: 'a', host: 'h', pid: 1, startedAt: '2026-01-01T00:00:00.000Z', seenMsAgo: 9_000, inFlight: 2, queued: 3 },
    ],
    totals: { ...counts, successRate: 0.875 },
    pools: {
      'glm-4-plus': {
        ...counts,
        successRate: 0.875,
        provider429: { 1302: 4 },
        provider429PerHour: { 1302: 3 },
        states: { calling: 2, 'waiting-for-token': 3, 'backing-off': 1 },
        atGate: 5,
        queued: 3,
        active: 3,
        waitMs: times,
        latencyMs: times,
        tokens: { estimated: 1, used: 1, refunded: 0 },
        limits: [
          { id: 'pool:glm-4-plus:concurrency', kind: 'concurrency', limit: 5, used: 2, ceiling: 2 },
          { id: 'set:account:requests:60000', kind: 'requests', windowMs: 60_000, limit: 200 },
        ],
        coolDownMs: 3_200,
        paused: false,
        tenants: { 'evil\u001b[31m名字': { ...counts, tokensUsed: 1, share: 1 } },
      },
    },
    alerts: [
      { rule: '429-rate', state: 'firing', sinceMs: 61_000, value: 3, threshold: 1, message: 'three 1302 in an hour' },
    ],
  }
  const frame = {
    source: 'gateway x',
    colors: picocolors.createColors(false),
    columns: 120,
    rows: Number.POSITIVE_INFINITY,
  }

  it('says what is out of the ordinary', () => {
    const text = renderFleet(stats, { ...frame, columns: 140 }).join('\n')
    for (const part of [
      'ISOLATED FROM REDIS',
      '! 429-rate: three 1302 in an hour (for 1m)',
      'cooling down 3.2s',
      'calling 2, waiting 8, backing off 1, at the gate 5',
      'wait p50 100ms, p99 1.1m',
      '429s/h 1302 × 3',
      'of 5 configured',
      'account requests/1m',
      '? / 200',
    ]) {
      expect(text).toContain(part)
    }
    expect(plainLines(stats)[0]).toMatch(
      /^2026-01-01T12:00:00Z glm-4-plus: 2\/2 in flight, \?\/200 requests\/1m, .*cooling down 3\.2s, ISOLATED/,
    )
  })

  it.each([
    [120, 40],
    [80, 24],
    [40, 8],
    [20, 3],
  ])('fits %i columns and %i rows, in colour too', (columns, rows) => {
    const lines = renderFleet(stats, { ...frame, columns, rows, colors: picocolors.createColors(true) })
    expect(lines.length).toBeLessThanOrEqual(rows)
    for (const line of lines) expect(stringWidth(line)).toBeLessThanOrEqual(columns)
  })

  it('obeys no control character from outside', () => {
    const text = [...renderFleet(stats, frame), ...plainLines(stats)].join('\n')
    expect(text).toContain('evil?[31m名字')
    expect(text).not.toContain('\u001b')
  })
})
