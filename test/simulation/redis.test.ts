import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RedisServer, startRedisServer } from '../../src/testing/redis-server.js'
import { runOnRedis } from './redis-run.js'
import { planOf } from './run.js'

/** More with `HEADGATE_REDIS_SEEDS`; `scripts/simulate.mjs --redis` runs any number. */
const SEEDS = Number(process.env.HEADGATE_REDIS_SEEDS ?? 12)

describe('the simulation on the Lua, in a real Redis on virtual time', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedisServer()
  })
  afterAll(() => server.stop())

  it('finds no violation', async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { violations } = await runOnRedis(planOf(seed), server.url)
      expect(violations.slice(0, 3), `node scripts/simulate.mjs --redis --seed ${seed}`).toEqual([])
    }
  }, 600_000)

  it('seed 125146, that once failed: a call that begins just before a floor closes', async () => {
    expect((await runOnRedis(planOf(125146), server.url)).violations.slice(0, 3)).toEqual([])
  }, 120_000)

  it('seed 700015, that once failed: a store that tells no part of a ms is read too early by as much', async () => {
    expect((await runOnRedis(planOf(700015), server.url)).violations.slice(0, 3)).toEqual([])
  }, 120_000)
})
