import { describe, expect, test } from 'vitest'
import { parseProseRetryMs, parseRetryAfterMs, parseShouldRetry } from '../../src/providers/retry-after.js'

const NOW_MS = Date.UTC(1994, 10, 6, 8, 49, 0)

describe('Retry-After', () => {
  test.each([
    ['0', 0],
    ['120', 120_000],
    ['1.1', 1_100],
    [' 7 ', 7_000],
    ['Sun, 06 Nov 1994 08:49:37 GMT', 37_000],
    ['Sunday, 06-Nov-94 08:49:37 GMT', 37_000],
    ['Sun Nov  6 08:49:37 1994', 37_000],
    ['Sat, 05 Nov 1994 08:49:37 GMT', 0],
    ['-1', undefined],
    ['+1', undefined],
    ['1e3', undefined],
    ['0x10', undefined],
    ['Infinity', undefined],
    ['soon', undefined],
    ['', undefined],
    ['Sun, 06 Foo 1994 08:49:37 GMT', undefined],
    ['Sun, 06 Nov 1994 28:49:37 GMT', undefined],
    ['1994-11-06T08:49:37Z', undefined],
    ['9'.repeat(400), undefined],
  ])('%j → %s ms', (value, expectedMs) => {
    expect(parseRetryAfterMs({ 'retry-after': value }, NOW_MS)).toBe(expectedMs)
  })

  test('two digits of a year more than 50 years ahead lie in the past', () => {
    const nowMs = Date.UTC(2026, 0, 1)
    expect(parseRetryAfterMs({ 'retry-after': 'Sunday, 06-Nov-94 08:49:37 GMT' }, nowMs)).toBe(0)
    expect(parseRetryAfterMs({ 'retry-after': 'Thursday, 01-Jan-26 00:00:01 GMT' }, nowMs)).toBe(1_000)
  })

  test('the longest of several', () => {
    expect(parseRetryAfterMs({ 'retry-after-ms': '250', 'retry-after': ['1', '3', 'x'] }, NOW_MS)).toBe(3_000)
    expect(parseRetryAfterMs({ 'retry-after-ms': '12.3' }, NOW_MS)).toBe(13)
    expect(parseRetryAfterMs({ 'retry-after-ms': '-12' }, NOW_MS)).toBeUndefined()
    expect(parseRetryAfterMs({}, NOW_MS)).toBeUndefined()
  })
})

test.each([
  ['Please try again in 1.5s. Visit …', 1_500],
  ['Please try again in 120ms.', 120],
  ['Please try again in 6m0s.', 360_000],
  ['Please try again in 1h2m3.5s', 3_723_500],
  ['Please retry after 22 seconds', 22_000],
  ['please retry after 1 second.', 1_000],
  ['please try again after 3 seconds', 3_000],
  ['Please retry in 45.578569677s.', 45_579],
  ['Please try again later', undefined],
  ['Please try again in a moment', undefined],
])('prose: %s', (message, expectedMs) => {
  expect(parseProseRetryMs(message)).toBe(expectedMs)
})

test.each([
  ['true', true],
  ['False', false],
  ['1', undefined],
  [undefined, undefined],
])('x-should-retry: %s', (value, expected) => {
  expect(parseShouldRetry({ 'x-should-retry': value })).toBe(expected)
})
