import { expect, it, onTestFinished } from 'vitest'
import { generateTrace, traceCsv } from '../../src/surfaces/cli/replay/generate.js'
import { startRedisServer } from '../../src/testing/redis-server.js'
import { fileOf, runCli } from './cli.js'

const ROWS = generateTrace({
  seed: 3,
  durationMs: 90_000,
  perMinute: 25,
  bursts: { everyMs: 20_000, sizes: [8, 12], spreadMs: 500 },
})
const LIMITS = ['--requests', '60/1m', '--concurrency', '4', '--speed', '20', '--processes', '2', '--json']

it('shares limits between processes through the Redis of REDIS_URL', async () => {
  const redis = await startRedisServer({ password: 'hush' })
  onTestFinished(() => redis.stop())
  const trace = await fileOf('trace.csv', traceCsv(ROWS))
  const { code, stdout, stderr } = await runCli(['replay', trace, ...LIMITS, '--latency', '1s'], {
    REDIS_URL: redis.url,
  })
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: expect.stringContaining(`store: Redis at 127.0.0.1:${redis.port}\n`),
  })
  expect(stderr).not.toContain('hush')
  const { governed } = JSON.parse(stdout)
  expect(governed).toMatchObject({ requests: ROWS.length, completed: ROWS.length, failed: 0, provider429: {} })
  expect(governed.worstWindowRatio).toBeLessThanOrEqual(1)
  expect(governed).not.toHaveProperty('lost')
})

it('loses with a killed worker what it held, and nothing else', async () => {
  const trace = await fileOf('trace.csv', traceCsv(ROWS))
  const { code, stdout, stderr } = await runCli(['replay', trace, ...LIMITS, '--latency', '6s', '--kill-at', '0.5'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('store: a redis-server of its own') })
  const { governed } = JSON.parse(stdout)
  const { requests, completed, lost, slotsBackMs } = governed
  expect(stderr).toContain(`worker 2 killed: ${lost} requests it held are lost with it\n`)
  expect(stderr).toContain(`back ${slotsBackMs} ms after the kill`)
  expect(governed).toMatchObject({ requests: ROWS.length, degraded: 0, failed: 0, provider429: {} })
  expect(lost).toBeGreaterThan(0)
  expect(completed + lost).toBe(requests)
  expect(slotsBackMs).toBeGreaterThan(0)
  expect(governed.worstWindowRatio).toBeLessThanOrEqual(1)
})

it('kills a worker only where another goes on', async () => {
  const trace = await fileOf('trace.csv', traceCsv(ROWS))
  const { code, stderr } = await runCli(['replay', trace, '--processes', '1', '--kill-at', '0.5'])
  expect({ code, stderr }).toEqual({ code: 1, stderr: 'headgate: --kill-at needs --processes 2 or more\n' })
})
