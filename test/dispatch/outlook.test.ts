import { describe, expect, test } from 'vitest'
import { ClockSync } from '../../src/dispatch/clock-sync.js'
import type { TokenRequest } from '../../src/dispatch/grant.js'
import { Outlook } from '../../src/dispatch/outlook.js'
import { Waiters } from '../../src/dispatch/waiters.js'
import type { ExchangeReply } from '../../src/limits/store.js'
import { VirtualClock } from '../../src/testing/virtual-clock.js'
import { groupOf, rate } from './small-fleet.js'
import { UNPLACED } from './unplaced.js'

/** 60 requests a minute: each is a second of the whole capacity. */
const SPEC = groupOf(rate('requests', 60))
const NOW_MS = 1_000_000
const ASKED = { pool: 0, flowKey: 'mine', draws: [0], tokens: 0 }

type Said = Partial<Pick<ExchangeReply, 'queues' | 'coolDowns' | 'paused'>>

/** What is known after the store said this, with so many of this process waiting in the flow asked for. */
function outlookOf(said: Said = {}, waiting = 0, synced = true): Outlook {
  const waiters = new Waiters(SPEC)
  for (let i = 0; i < waiting; i++) {
    const request: TokenRequest = {
      ...UNPLACED,
      ...ASKED,
      tenant: 'tenant',
      tenantWeight: 1,
      classWeight: 1,
      sinceMs: 0,
      callTimeoutMs: 0,
      onGrant: () => {},
      onRefused: () => {},
    }
    waiters.add(request)
  }
  const known = {
    roster: [],
    others: 0,
    floors: [],
    used: [],
    usedAsOfMs: 0,
    ceilings: [],
    overrides: [],
    poolWords: [],
    limitWords: [],
    coolDowns: [],
    paused: [],
    queues: [],
    ...said,
  }
  const sync = new ClockSync()
  if (synced) sync.observe(NOW_MS, NOW_MS, NOW_MS)
  return new Outlook({ clock: new VirtualClock({ startMs: NOW_MS }), spec: SPEC }, known, waiters, sync)
}

describe('how long a request would wait', () => {
  test('not at all where nobody waits, nor before the store has said anything', () => {
    expect(outlookOf().estimateWaitMs(ASKED)).toBe(0)
    const unsynced = outlookOf({}, 0, false)
    expect([unsynced.estimateWaitMs(ASKED), unsynced.leastWaitMs(ASKED), unsynced.coolDownMs(0)]).toEqual([0, 0, 0])
  })

  test('until the first in line is due, then for its own flow at full speed', () => {
    const outlook = outlookOf({ queues: [[0, NOW_MS + 500, 3_000_000, 1]] }, 3)
    expect(outlook.estimateWaitMs(ASKED)).toBe(500 + 3_000)
  })

  test('every other flow is served as much meanwhile, as far as it has anything', () => {
    // Behind two of its own; one other flow with plenty takes as much as these and it.
    expect(outlookOf({ queues: [[0, NOW_MS, 100_000_000, 2]] }, 2).estimateWaitMs(ASKED)).toBe(2_000 + 3_000)
    // One other flow with a single request takes no more than that.
    expect(outlookOf({ queues: [[0, NOW_MS, 3_000_000, 2]] }, 2).estimateWaitMs(ASKED)).toBe(2_000 + 1_000)
  })

  test('for those like it, too, that are ahead of it elsewhere', () => {
    expect(outlookOf().estimateWaitMs(ASKED, 4)).toBe(4_000)
    expect(outlookOf({ queues: [[0, NOW_MS, 100_000_000, 2]] }, 2).estimateWaitMs(ASKED, 1)).toBe(3_000 + 4_000)
  })

  test('another pool’s queue is nothing to it', () => {
    expect(outlookOf({ queues: [[1, NOW_MS + 9_000, 9_000_000, 3]] }).estimateWaitMs(ASKED)).toBe(0)
  })

  test('for the rest of a cool-down, and for no end while paused', () => {
    const outlook = outlookOf({ coolDowns: [[0, NOW_MS + 7_000, 1]] })
    expect([outlook.coolDownMs(0), outlook.leastWaitMs(ASKED), outlook.estimateWaitMs(ASKED)]).toEqual([
      7_000, 7_000, 7_000,
    ])
    expect(outlook.coolDownMs(1)).toBe(0)
    const over = outlookOf({ coolDowns: [[0, NOW_MS - 1, 1]] })
    expect(over.coolDownMs(0)).toBe(0)
    const paused = outlookOf({ paused: [0] })
    expect([paused.coolDownMs(0), paused.estimateWaitMs(ASKED)]).toEqual([Infinity, Infinity])
  })
})

describe('the least that a request is sure to wait', () => {
  test('is no more than the estimate', () => {
    const outlooks = [
      outlookOf({ queues: [[0, NOW_MS + 500, 3_000_000, 1]] }, 3),
      outlookOf({ queues: [[0, NOW_MS + 500, 90_000_000, 5]] }),
      outlookOf({ queues: [[0, 0, 90_000_000, 5]], coolDowns: [[0, NOW_MS + 100, 1]] }, 1),
    ]
    for (const outlook of outlooks)
      expect(outlook.leastWaitMs(ASKED)).toBeLessThanOrEqual(outlook.estimateWaitMs(ASKED))
  })

  test('is nothing behind other flows: it may be the next in fair order', () => {
    expect(outlookOf({ queues: [[0, NOW_MS + 500, 90_000_000, 5]] }).leastWaitMs(ASKED)).toBe(0)
  })

  test('is the wait of the first of its own flow', () => {
    expect(outlookOf({ queues: [[0, NOW_MS + 500, 90_000_000, 5]] }, 2).leastWaitMs(ASKED)).toBeGreaterThanOrEqual(500)
  })
})
