import { describe, expect, test } from 'vitest'
import type { Grant, TokenRequest } from '../../src/dispatch/grant.js'
import { Shadow } from '../../src/dispatch/shadow.js'
import { type Fleet, SLACK_MS } from './fleet.js'
import { fleetOf, MINUTE_MS, tokenFleetOf } from './small-fleet.js'
import { UNPLACED } from './unplaced.js'

async function rig(fleet: Fleet) {
  const { dispatcher, clock } = await fleet.join()
  const shadow = new Shadow(dispatcher, clock)
  /** Asks, and returns the grant that must be there in the same turn. */
  const ask = (more: Partial<TokenRequest> = {}): Grant => {
    const grants: Grant[] = []
    shadow.request({
      ...UNPLACED,
      pool: 0,
      flowKey: 'flow',
      tenant: 'tenant',
      tenantWeight: 1,
      classWeight: 1,
      draws: fleet.spec.draws[0]!,
      tokens: 0,
      sinceMs: clock.now(),
      callTimeoutMs: 1_000,
      onGrant: (grant) => grants.push(grant),
      onRefused: () => {
        throw new Error('nothing is refused')
      },
      ...more,
    })
    expect(grants).toHaveLength(1)
    return grants[0]!
  }
  return { shadow, dispatcher, ask }
}

describe('shadow mode', () => {
  test('never delays: every request goes at once, whatever the limits, and may be sent at any time', async () => {
    const fleet = fleetOf(1, 1)
    const { shadow, ask } = await rig(fleet)
    const grants = Array.from({ length: 20 }, () => ask())
    await fleet.clock.advanceAsync(10 * SLACK_MS)
    expect(grants.map((grant) => shadow.maySend(grant))).toEqual(Array(20).fill(true))
    expect(grants.map((grant) => shadow.maySend(grant))).toEqual(Array(20).fill(false))
  })

  test('the limits fill as if it governed: charges, slots and corrections', async () => {
    const fleet = tokenFleetOf(100, 10)
    const { shadow, ask } = await rig(fleet)
    const [more, running] = [ask({ tokens: 30 }), ask({ tokens: 20 })]
    await fleet.settle()
    expect(fleet.used).toEqual([50, 2])
    shadow.settle(more, { tokensDelta: 5 })
    await fleet.settle()
    expect(fleet.used).toEqual([55, 1])
    shadow.settle(running, { unsent: true })
    shadow.settle(running, { unsent: true })
    await fleet.settle()
    expect(fleet.used).toEqual([35, 0])
    expect(shadow.counts).toEqual({ requests: 2, delayed: 0, waitMs: 0 })
  })

  test('counts what would have waited, and for how long', async () => {
    const fleet = fleetOf(1, 10)
    const { shadow, ask } = await rig(fleet)
    const [prompt, late] = [ask(), ask()]
    await fleet.settle()
    expect(shadow.counts).toEqual({ requests: 2, delayed: 0, waitMs: 0 })
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    const { requests, delayed, waitMs } = shadow.counts
    expect([requests, delayed]).toEqual([2, 1])
    expect(waitMs).toBeGreaterThan(MINUTE_MS)
    expect(waitMs).toBeLessThan(MINUTE_MS + 500)
    for (const grant of [prompt, late]) shadow.settle(grant, {})
    await fleet.settle()
    expect(fleet.used[1]).toBe(0)
  })

  test('who ended before it would have begun waited as long as that at least, and holds up nobody', async () => {
    const fleet = fleetOf(1, 10)
    const { shadow, dispatcher, ask } = await rig(fleet)
    ask()
    const late = ask()
    await fleet.clock.advanceAsync(3_000)
    shadow.settle(late, {})
    expect(shadow.counts).toEqual({ requests: 2, delayed: 1, waitMs: 3_000 })
    expect(dispatcher.waiting).toBe(0)
    await fleet.clock.advanceAsync(2 * MINUTE_MS)
    expect(shadow.counts.delayed).toBe(1)
  })

  test('a cool-down delays nothing either, and is known to the fleet', async () => {
    const fleet = fleetOf(10, 10)
    const { shadow, ask } = await rig(fleet)
    const refused = ask()
    await fleet.settle()
    shadow.settle(refused, { coolDownMs: 5_000 })
    await fleet.settle()
    expect(fleet.usage().pausedUntilMs.p0).toBeGreaterThan(fleet.clock.now())
    shadow.maySend(ask())
    await fleet.clock.advanceAsync(6_000)
    expect(shadow.counts).toMatchObject({ requests: 2, delayed: 1 })
  })

  test('a cost that no waiting makes fit is no reason to refuse', async () => {
    const fleet = tokenFleetOf(10, 10)
    const { shadow, ask } = await rig(fleet)
    expect(shadow.maySend(ask({ tokens: 1_000 }))).toBe(true)
    await fleet.clock.advanceAsync(1_000)
    expect(fleet.used).toEqual([0, 0])
  })
})
