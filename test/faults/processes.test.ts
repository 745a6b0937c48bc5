import { monitorEventLoopDelay } from 'node:perf_hooks'
import { describe, expect, test } from 'vitest'
import { finishExactly, fullUse, loadFully, startFleet, TIMEOUT_MS } from './fleet.js'
import { until } from './until.js'

const LEASE_MS = 9_000
const SLOTS = 4
const LIMITS = { requests: { limit: 1_000, per: 60_000 }, concurrency: SLOTS }
/** A grant is dated no later than so long before its call arrives. */
const ARRIVAL_MS = 1_000
/** Turns of somebody's event loop between the end of a lease and the last arrival; each may be as late as ours was. */
const HOPS = 6

async function killWhileHolding(context: Parameters<typeof startFleet>[0], pool = {}) {
  const fleet = await startFleet(context, { limits: LIMITS, pool })
  const { provider, processes } = fleet
  const [victim, ...survivors] = processes
  provider.hangNext(SLOTS)
  await victim!.spawn(SLOTS)
  await until('all slots held', () => provider.log.length === SLOTS)
  const heldAtMs = provider.log.at(-1)!.atMs
  // Until the store has heard that nothing waits any more, it holds the slots for calls that were yet to begin.
  const answered = await victim!.roundTrips()
  await until('the store to hear of it', async () => (await victim!.roundTrips()) >= answered + 2)
  const lateness = monitorEventLoopDelay({ resolution: 10 })
  lateness.enable()
  await victim!.kill()
  const killedAtMs = performance.now()
  await Promise.all(survivors.map((process) => process.spawn(SLOTS)))
  await until('the slots', () => provider.log.length >= 2 * SLOTS)
  const firstAtMs = provider.log[SLOTS]!.atMs
  const allAtMs = provider.log[2 * SLOTS - 1]!.atMs
  lateness.disable()
  const lateMs = (HOPS * lateness.max) / 1e6
  await finishExactly(fleet, survivors)
  return { survivors, heldForMs: firstAtMs - heldAtMs, backAfterMs: allAtMs - killedAtMs - lateMs }
}

describe.concurrent('a process is killed', { timeout: TIMEOUT_MS }, () => {
  test('while it holds every slot: they are back when its lease ends, no sooner; what it spent stays spent', async (context) => {
    const { survivors, heldForMs, backAfterMs } = await killWhileHolding(context)
    expect(heldForMs).toBeGreaterThan(LEASE_MS - ARRIVAL_MS)
    expect(backAfterMs).toBeLessThan(10_000)
    const [usage] = await survivors[0]!.usage()
    expect(usage!.limits.map(({ used }) => used)).toEqual([2 * SLOTS, 0])
  })

  test('with holdUntilCallDeadline: they are back at the deadline of its calls', async (context) => {
    const timeout = 11_000
    const { heldForMs, backAfterMs } = await killWhileHolding(context, { holdUntilCallDeadline: true, timeout })
    expect(heldForMs).toBeGreaterThan(timeout - ARRIVAL_MS)
    expect(backAfterMs).toBeLessThan(timeout + 2_000)
  })
})

test('a process stopped for longer than its lease: it is given up, sends nothing on what it was granted, and joins anew', {
  timeout: TIMEOUT_MS,
}, async (context) => {
  const fleet = await startFleet(context, { processes: 3 })
  const [stopped, other] = fleet.processes
  const idsNow = async () => Object.keys((await other!.usage())[0]!.processes)
  await loadFully(fleet)
  const before = await idsNow()
  expect(before).toHaveLength(3)
  stopped!.signal('SIGSTOP')
  let left: string[] = []
  await until('the store to give it up', async () => {
    left = await idsNow()
    return left.length === 2
  })
  const former = before.find((id) => !left.includes(id))!
  stopped!.signal('SIGCONT')
  const continuedAtMs = Date.now()
  const [name, incarnation] = former.split('.')
  await until('it to join anew', async () => (await idsNow()).includes(`${name}.${Number(incarnation) + 1}`))
  await fullUse(fleet, continuedAtMs)
  await finishExactly(fleet)
})
