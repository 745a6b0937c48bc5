import { Redis } from 'ioredis'
import { expect, onTestFinished, test, vi } from 'vitest'
import { resolveConfig } from '../../src/config.js'
import { observeFleet } from '../../src/observer.js'
import { checkRedis } from '../../src/surfaces/cli/doctor/redis.js'
import { startRedisServer } from '../../src/testing/redis-server.js'

// Only the exchange has this part.
vi.mock('../../src/limits/lua/settle.lua', () => ({ default: 'what no Redis takes' }))

test('doctor has Redis compile the scripts that a gate sends, and tells of one that it refuses', async () => {
  const redis = await startRedisServer()
  const observer = observeFleet(resolveConfig({ redis: redis.url, pools: { p: { provider: 'openai' } } }))!
  const client = new Redis(redis.url)
  onTestFinished(async () => {
    client.disconnect()
    await observer.close()
    await redis.stop()
  })
  const checks = await checkRedis(observer, 'ns')
  expect(checks.find(({ id }) => id === 'redis.scripts')).toMatchObject({
    status: 'problem',
    said: expect.stringContaining('Error compiling script'),
    advice: expect.stringContaining("doesn't take Headgate's scripts"),
  })
  expect(await client.keys('*')).toEqual([])
})
