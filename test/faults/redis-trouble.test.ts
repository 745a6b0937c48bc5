import { describe, expect, test } from 'vitest'
import { finishExactly, fullUse, loadFully, startFleet, TIMEOUT_MS } from './fleet.js'

const PAUSE_MS = 3_000
const READY_MS = 5_000

describe.concurrent('Redis in trouble', { timeout: TIMEOUT_MS }, () => {
  test('paused for longer than a reply may take: all go on as if nothing had been', async (context) => {
    const fleet = await startFleet(context)
    await loadFully(fleet)
    const from = fleet.processes.map(({ news }) => news.length)
    await fleet.admin.client('PAUSE', PAUSE_MS, 'ALL')
    await Promise.all(fleet.processes.map((process, i) => process.hears('isolated', from[i])))
    await Promise.all(fleet.processes.map((process, i) => process.hears('synced', from[i])))
    await fullUse(fleet)
    await finishExactly(fleet)
    for (const { news } of fleet.processes) expect(news).not.toContain('learning')
  })

  test('flushed: all learn from one another what was spent, then go on', async (context) => {
    const fleet = await startFleet(context)
    await loadFully(fleet)
    await fleet.admin.flushall()
    await Promise.all(fleet.processes.map((process) => process.hears('learning')))
    await fullUse(fleet)
    await finishExactly(fleet)
    for (const process of fleet.processes) expect(process.states()).toEqual(['synced', 'learning', 'synced'])
  })

  test('without its scripts: nobody notices', async (context) => {
    const fleet = await startFleet(context)
    await loadFully(fleet)
    await fleet.admin.script('FLUSH')
    await fullUse(fleet)
    await finishExactly(fleet)
    for (const { news } of fleet.processes) expect(news).toEqual(['synced'])
  })

  test('without a connection to spare: a newcomer is told why, the others go on, and it comes in when there is one', async (context) => {
    const fleet = await startFleet(context)
    await loadFully(fleet)
    await fleet.admin.config('SET', 'maxclients', 1)
    const newcomer = await fleet.add()
    const askedAtMs = performance.now()
    const refusal: Error & { code?: string } = await newcomer.ready().then(
      () => expect.unreachable('it came in'),
      (error) => error,
    )
    expect(performance.now() - askedAtMs).toBeLessThan(READY_MS)
    expect(refusal.code).toBe('STORE_UNAVAILABLE')
    // Redis hangs up so early that what it says of it is often not read.
    expect(refusal.message).toMatch(
      new RegExp(`Redis at 127.0.0.1:${fleet.redis.port} is unavailable: .*(EPIPE|ECONNRESET|max number of clients)`),
    )
    await fullUse(fleet)
    for (const { news } of fleet.processes.slice(0, 2)) expect(news).toEqual(['synced'])
    await fleet.admin.config('SET', 'maxclients', 1_000)
    await newcomer.ready()
    await newcomer.spawn(5)
    await finishExactly(fleet)
  })

  test('it hangs up on all: they come back and go on', async (context) => {
    const fleet = await startFleet(context)
    await loadFully(fleet)
    for (const type of ['normal', 'pubsub']) await fleet.admin.call('CLIENT', 'KILL', 'TYPE', type)
    await Promise.all(fleet.processes.map((process) => process.hears('isolated')))
    await fullUse(fleet)
    await finishExactly(fleet)
    for (const process of fleet.processes) expect(process.states()).toEqual(['synced', 'isolated', 'synced'])
  })
})
