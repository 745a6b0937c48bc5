import { describe, expect, it } from 'vitest'
import type { LimitChange } from '../src/gate-types.js'
import { movesOf } from '../src/limit-change.js'

const CONFIGURED = [
  { id: 'pool:p:requests:1000', limit: 5 },
  { id: 'pool:p:concurrency', limit: 2 },
]
const moves = (change: unknown) => movesOf('p', change as LimitChange, CONFIGURED)

describe('a change of limits', () => {
  it('moves each limit from its configured value', () => {
    expect(moves({ requests: { limit: 3, per: '1s' }, concurrency: 1 })).toEqual([
      { id: 'pool:p:requests:1000', base: 5, limit: 3 },
      { id: 'pool:p:concurrency', base: 2, limit: 1 },
    ])
  })

  it.each([
    [undefined, 'updatePool: expected an object with requests, tokens or concurrency, got undefined'],
    [null, 'updatePool: expected an object with requests, tokens or concurrency, got null'],
    [{ request: { limit: 3, per: '1s' } }, 'updatePool: expected requests, tokens or concurrency, got request'],
    [{ requests: 3 }, 'updatePool: requests: expected { limit, per }, got 3'],
    [{ concurrency: 0 }, 'updatePool: pool:p:concurrency: expected a whole number ≥ 1, got 0'],
  ])('refuses %j, and says what was expected', (change, message) => {
    expect(() => moves(change)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message }))
  })
})
