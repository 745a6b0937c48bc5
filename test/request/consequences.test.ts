import { describe, expect, test } from 'vitest'
import { type FailureClass, failureOf } from '../../src/providers/provider.js'
import { consequencesOf } from '../../src/request/consequences.js'

const MINUTE_MS = 60_000
const NOTHING = { cut: false, coolDownMs: 0 }
const pause = (coolDownMs: number) => ({ cut: false, coolDownMs })

/** Per class: without a hint, and with the provider asking for 7 s. */
const TABLE: Record<FailureClass, [unhinted: object, hinted: object]> = {
  RLR: [pause(1_000), pause(7_000)],
  RLT: [pause(1_000), pause(7_000)],
  OVL: [pause(1_000), pause(7_000)],
  CONC: [
    { cut: true, coolDownMs: 0 },
    { cut: true, coolDownMs: 0 },
  ],
  QUOTA: [pause(5 * MINUTE_MS), pause(7_000)],
  BAL: [pause(5 * MINUTE_MS), pause(7_000)],
  RESTRICTED: [pause(5 * MINUTE_MS), pause(7_000)],
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
    expect(consequencesOf(failureOf('RLR', 'refused', { retryAfterMs: 0 }))).toEqual(NOTHING)
  })

  test('no pause is longer than a week, whatever the provider says', () => {
    const failure = failureOf('QUOTA', 'refused', { retryAfterMs: 365 * 24 * 60 * MINUTE_MS })
    expect(consequencesOf(failure).coolDownMs).toBe(7 * 24 * 60 * MINUTE_MS)
  })
})
