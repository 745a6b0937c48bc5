import { describe, expect, test } from 'vitest'
import type { Dimension } from '../../src/limits/store.js'
import { type FailureClass, failureOf } from '../../src/providers/provider.js'
import { consequencesOf } from '../../src/request/consequences.js'

const MINUTE_MS = 60_000
const NOTHING = { cut: undefined, coolDownMs: 0 }
const pause = (coolDownMs: number, cut?: Dimension) => ({ cut, coolDownMs })

/** Per class: without a hint, and with the provider asking for 7 s. */
const TABLE: Record<FailureClass, [unhinted: object, hinted: object]> = {
  RLR: [pause(1_000, 'requests'), pause(7_000, 'requests')],
  RLT: [pause(1_000, 'tokens'), pause(7_000, 'tokens')],
  OVL: [pause(1_000), pause(7_000)],
  CONC: [pause(0, 'concurrency'), pause(0, 'concurrency')],
  QUOTA: [pause(5 * MINUTE_MS), pause(7_000)],
  // Neither an empty account nor a restriction is over within seconds, whatever the hint.
  BAL: [pause(5 * MINUTE_MS), pause(5 * MINUTE_MS)],
  RESTRICTED: [pause(5 * MINUTE_MS), pause(5 * MINUTE_MS)],
  AUTH: [NOTHING, NOTHING],
  BAD: [NOTHING, NOTHING],
  FILTER: [NOTHING, NOTHING],
  CTX: [NOTHING, NOTHING],
  SRV: [NOTHING, NOTHING],
  TMO: [NOTHING, NOTHING],
  NET: [NOTHING, NOTHING],
  UNKNOWN: [NOTHING, NOTHING],
}

describe('what a failure means for the fleet', () => {
  test.each(Object.entries(TABLE) as [FailureClass, [object, object]][])('%s', (failureClass, [unhinted, hinted]) => {
    expect(consequencesOf(failureOf(failureClass, 'refused'))).toEqual(unhinted)
    expect(consequencesOf(failureOf(failureClass, 'refused', { retryAfterMs: 7_000 }))).toEqual(hinted)
  })

  test('a hint of nothing means no pause', () => {
    expect(consequencesOf(failureOf('OVL', 'refused', { retryAfterMs: 0 }))).toEqual(NOTHING)
    expect(consequencesOf(failureOf('RLR', 'refused', { retryAfterMs: 0 }))).toEqual(pause(0, 'requests'))
  })

  test.each(['BAL', 'RESTRICTED'] as const)('a longer hint is believed of %s too', (failureClass) => {
    const failure = failureOf(failureClass, 'refused', { retryAfterMs: 10 * MINUTE_MS })
    expect(consequencesOf(failure).coolDownMs).toBe(10 * MINUTE_MS)
  })

  test('no pause is longer than 40 days, whatever the provider says: a quota is by the month at the longest', () => {
    const failure = failureOf('QUOTA', 'refused', { retryAfterMs: 365 * 24 * 60 * MINUTE_MS })
    expect(consequencesOf(failure).coolDownMs).toBe(40 * 24 * 60 * MINUTE_MS)
  })
})
