import { describe, expect, it } from 'vitest'
import { durationMsOf, parseDurationMs, parseRate } from '../../src/durations.js'

describe('durations', () => {
  it.each([
    [0, 0],
    [1500, 1500],
    [0.6, 1],
    ['200ms', 200],
    ['1m', 60_000],
    [' 1 d ', 86_400_000],
    ['1.1s', 1100],
    ['0', 0],
  ])('reads %j as %d ms', (value, expectedMs) => {
    expect(parseDurationMs(value)).toBe(expectedMs)
  })

  it.each([
    ['', '""'],
    ['soon', '"soon"'],
    ['250', '"250"'],
    ['1.5', '"1.5"'],
    ['-1s', '"-1s"'],
    [-1, '-1'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
  ])('refuses %j', (value, shown) => {
    expect(() => parseDurationMs(value)).toThrowError(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: `expected ms (a number) or a duration such as '30s', got ${shown}`,
      }),
    )
  })

  it('refuses what is neither number nor string', () => {
    expect([undefined, null, {}, [], true].map(durationMsOf)).toEqual(Array(5).fill(undefined))
  })
})

describe('rates', () => {
  it.each([
    ['50/1m', { limit: 50, windowMs: 60_000 }],
    [' 5 / 200ms ', { limit: 5, windowMs: 200 }],
    ['1000000/1 day', { limit: 1_000_000, windowMs: 86_400_000 }],
  ])('reads %j', (text, rate) => {
    expect(parseRate(text)).toEqual(rate)
  })

  it.each(['', '50', '50/', '/1m', '0/1m', '-5/1m', '1.5/1m', '50/0s', '50/soon', '50/60', '9007199254740993/1m'])(
    'refuses %j',
    (text) => {
      expect(() => parseRate(text)).toThrowError(
        expect.objectContaining({
          code: 'CONFIG_INVALID',
          message: `expected a rate such as '50/1m', got ${JSON.stringify(text)}`,
        }),
      )
    },
  )
})
