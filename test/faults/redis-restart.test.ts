import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { type Fleet, finishExactly, fullUse, loadFully, startFleet, TIMEOUT_MS } from './fleet.js'
import { until } from './until.js'

/** How long Redis stays away. */
const AWAY_MS = 2_000
const KEPT = ['--appendonly', 'yes', '--appendfsync', 'always']
/** Nothing comes back in the course of a test. */
const LONG = { limits: { requests: { limit: 90, per: 300_000 }, concurrency: 8 } }

/** Kills Redis and starts it again; resolves when all are synced with it. Returns what each of them heard of it. */
async function killAndRestart({ redis, processes }: Fleet): Promise<string[][]> {
  const from = processes.map(({ news }) => news.length)
  await redis.kill('SIGKILL')
  await Promise.all(processes.map((process, i) => process.hears('isolated', from[i])))
  await sleep(AWAY_MS)
  await redis.restart()
  await Promise.all(processes.map((process, i) => process.hears('synced', from[i])))
  return processes.map((process, i) => process.states(from[i]))
}

async function spent({ processes }: Fleet): Promise<number> {
  return (await processes[0]!.usage())[0]!.limits[0]!.used
}

describe.concurrent('Redis is killed and comes back', { timeout: TIMEOUT_MS }, () => {
  test('empty: all learn from one another what was spent, then go on', async (context) => {
    const fleet = await startFleet(context, { processes: 3 })
    await loadFully(fleet)
    const states = await killAndRestart(fleet)
    expect(states).toEqual(Array(3).fill(['isolated', 'learning', 'synced']))
    await fullUse(fleet)
    await finishExactly(fleet)
  })

  test('empty: what all spent is known again once all were heard', async (context) => {
    const fleet = await startFleet(context, { processes: 3, ...LONG })
    for (const [i, process] of fleet.processes.entries()) await process.spawn(10 + i)
    await until('all to be sent', () => fleet.provider.log.length === 33)
    await killAndRestart(fleet)
    expect(await spent(fleet)).toBe(33)
    await fleet.processes[0]!.spawn(20)
    await finishExactly(fleet)
    expect(await spent(fleet)).toBe(53)
  })

  test('empty: what one that is gone may have spent counts as spent', async (context) => {
    const fleet = await startFleet(context, LONG)
    const [survivor, victim] = fleet.processes
    await survivor!.spawn(10)
    await victim!.spawn(1)
    await until('all to be sent', () => fleet.provider.log.length === 11)
    await victim!.kill()
    fleet.processes.pop()
    await killAndRestart(fleet)
    expect(await spent(fleet)).toBe(LONG.limits.requests.limit)
    await finishExactly(fleet)
  })

  test('with all it knew: it is learned all the same, for nobody can tell that nothing is missing', async (context) => {
    const fleet = await startFleet(context, { redisArgs: KEPT })
    await loadFully(fleet)
    const states = await killAndRestart(fleet)
    expect(states).toEqual(Array(2).fill(['isolated', 'learning', 'synced']))
    await fullUse(fleet)
    await finishExactly(fleet)
  })

  test('with an older state: what came after it is learned', async (context) => {
    const fleet = await startFleet(context)
    await loadFully(fleet)
    await fleet.admin.save()
    await fullUse(fleet)
    const states = await killAndRestart(fleet)
    expect(states).toEqual(Array(2).fill(['isolated', 'learning', 'synced']))
    await fullUse(fleet)
    await finishExactly(fleet)
  })

  test('after long: with isolatedMaxMs each process goes on from its share, and owes it afterwards', async (context) => {
    const fleet = await startFleet(context, { isolatedMaxMs: 60_000 })
    const { redis, provider, processes } = fleet
    await loadFully(fleet)
    await redis.kill('SIGKILL')
    await Promise.all(processes.map((process) => process.hears('on-floor')))
    const { length } = provider.log
    await until('calls without Redis', () => provider.log.length >= length + 40)
    await redis.restart()
    await Promise.all(processes.map((process) => process.hears('learning')))
    await fullUse(fleet)
    await finishExactly(fleet)
  })
})
