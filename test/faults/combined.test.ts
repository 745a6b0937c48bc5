import { describe, expect, test } from 'vitest'
import { type Fleet, finishExactly, fullUse, loadFully, startFleet, TIMEOUT_MS } from './fleet.js'
import type { GateProcess } from './process.js'
import { until } from './until.js'

/** Stops a process for as long as something happens to Redis and the others. */
async function whileStopped({ processes }: Fleet, happens: (others: GateProcess[]) => Promise<void>): Promise<void> {
  const [stopped, ...others] = processes
  stopped!.signal('SIGSTOP')
  await happens(others)
  stopped!.signal('SIGCONT')
}

/** Resolves when each has heard this since the index that stands for it. */
const all = (processes: readonly GateProcess[], news: string, from: readonly number[]) =>
  Promise.all(processes.map((process, i) => process.hears(news, from[i])))

const heard = (processes: readonly GateProcess[]) => processes.map(({ news }) => news.length)

describe.concurrent('faults that come together', { timeout: TIMEOUT_MS }, () => {
  test('flushed while a process is stopped: the others wait for it or its window, and it learns when it goes on', async (context) => {
    const fleet = await startFleet(context, { processes: 3 })
    await loadFully(fleet)
    await whileStopped(fleet, async (others) => {
      const from = heard(others)
      await fleet.admin.flushall()
      await all(others, 'learning', from)
      // Whatever it may have spent is out of the window before they go on without it.
      await all(others, 'synced', from)
    })
    const continuedAtMs = Date.now()
    await fullUse(fleet, continuedAtMs)
    await finishExactly(fleet)
  })

  test('killed while its clients are paused, and back empty: all learn, then go on', async (context) => {
    const fleet = await startFleet(context, { processes: 3 })
    const { redis, admin, processes } = fleet
    await loadFully(fleet)
    const from = heard(processes)
    await admin.client('PAUSE', 60_000, 'ALL')
    await redis.kill('SIGKILL')
    await all(processes, 'isolated', from)
    await redis.restart()
    await all(processes, 'synced', from)
    expect(processes.map((process, i) => process.states(from[i]))).toEqual(
      Array(3).fill(['isolated', 'learning', 'synced']),
    )
    await fullUse(fleet)
    await finishExactly(fleet)
  })

  test('killed while a process is stopped, which is killed then: the last goes on once what both may have spent counts no more', async (context) => {
    const fleet = await startFleet(context, { processes: 2 })
    const { redis, processes } = fleet
    await loadFully(fleet)
    const [victim, survivor] = processes
    const from = survivor!.news.length
    victim!.signal('SIGSTOP')
    await redis.kill('SIGKILL')
    await victim!.kill()
    await survivor!.hears('isolated', from)
    await redis.restart()
    await survivor!.hears('synced', from)
    const backAtMs = Date.now()
    await until('a call', () => survivor!.grantedMs.some((atMs) => atMs > backAtMs))
    await finishExactly(fleet, [survivor!])
  })
})
