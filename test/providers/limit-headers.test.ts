import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { limitObservations } from '../../src/providers/limit-headers.js'
import type { ProviderResponse } from '../../src/providers/provider.js'

const NOW_MS = Date.UTC(2026, 0, 15, 12)
const DAY_MS = 86_400_000
const read = (headers: ProviderResponse['headers'], provider = 'openai') =>
  providerByName(provider)?.limitObservations?.({ headers }, NOW_MS)

describe('OpenAI', () => {
  test('both dimensions, of a minute', () => {
    const headers = {
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '59',
      'x-ratelimit-reset-requests': '1s',
      'x-ratelimit-limit-tokens': '150000',
      'x-ratelimit-remaining-tokens': '149984',
      'x-ratelimit-reset-tokens': '6m0s',
    }
    expect(read(headers)).toEqual([
      { dimension: 'requests', windowMs: 60_000, limit: 60, remaining: 59, resetMs: 1_000 },
      { dimension: 'tokens', windowMs: 60_000, limit: 150_000, remaining: 149_984, resetMs: 360_000 },
    ])
  })

  test.each([
    ['1s', 1_000],
    ['6m0s', 360_000],
    ['120ms', 120],
    ['1h2m3.5s', 3_723_500],
    ['2m59.56s', 179_560],
    ['8.64s', 8_640],
    ['500µs', 1],
    ['0s', 0],
    ['0', 0],
    ['', undefined],
    ['soon', undefined],
    ['-1s', undefined],
    ['1s more', undefined],
    ['1.5', undefined],
    ['1d', undefined],
    ['9999999h', undefined],
    [`${'9'.repeat(400)}s`, undefined],
  ])('a reset of %j is %s ms', (reset, resetMs) => {
    const [observed] = read({ 'x-ratelimit-remaining-requests': '1', 'x-ratelimit-reset-requests': reset }) ?? []
    expect(observed?.resetMs).toBe(resetMs)
  })
})

test("Groq's requests are of a day, its tokens of a minute", () => {
  const headers = {
    'x-ratelimit-limit-requests': '14400',
    'x-ratelimit-remaining-requests': '14370',
    'x-ratelimit-reset-requests': '2m59.56s',
    'x-ratelimit-limit-tokens': '18000',
    'x-ratelimit-remaining-tokens': '17997',
    'x-ratelimit-reset-tokens': '7.66s',
  }
  expect(read(headers, 'groq')).toEqual([
    { dimension: 'requests', windowMs: DAY_MS, limit: 14_400, remaining: 14_370, resetMs: 179_560 },
    { dimension: 'tokens', windowMs: 60_000, limit: 18_000, remaining: 17_997, resetMs: 7_660 },
  ])
})

test('Azure says only what remains, and -1 where it does not know', () => {
  const headers = { 'x-ratelimit-remaining-requests': '119', 'x-ratelimit-remaining-tokens': '-1' }
  expect(read(headers, 'azure')).toEqual([{ dimension: 'requests', windowMs: 60_000, remaining: 119 }])
})

describe('Anthropic', () => {
  test('every limit, prompt and completion apart; the reset is when it is full again', () => {
    const of = (name: string, limit: number, remaining: number, reset: string) => ({
      [`anthropic-ratelimit-${name}-limit`]: String(limit),
      [`anthropic-ratelimit-${name}-remaining`]: String(remaining),
      [`anthropic-ratelimit-${name}-reset`]: reset,
    })
    const headers = {
      ...of('requests', 50, 49, '2026-01-15T12:00:02Z'),
      ...of('tokens', 40_000, 39_000, '2026-01-15T12:00:01.500Z'),
      ...of('input-tokens', 30_000, 0, '2026-01-15T13:00:30+01:00'),
      ...of('output-tokens', 8_000, 8_000, '2026-01-15T11:59:59Z'),
    }
    const windowMs = 60_000
    expect(read(headers, 'anthropic')).toEqual([
      { dimension: 'requests', windowMs, limit: 50, remaining: 49, resetMs: 2_000 },
      { dimension: 'tokens', windowMs, limit: 40_000, remaining: 39_000, resetMs: 1_500 },
      { dimension: 'tokens', part: 'prompt', windowMs, limit: 30_000, remaining: 0, resetMs: 30_000 },
      { dimension: 'tokens', part: 'completion', windowMs, limit: 8_000, remaining: 8_000, resetMs: 0 },
    ])
  })

  test.each([
    '2026-01-15',
    '1736942402',
    'Thu, 15 Jan 2026 12:00:02 GMT',
    '2026-99-15T12:00:02Z',
    '2126-01-15T12:00:00Z',
  ])('a reset of %j is absent', (reset) => {
    expect(read({ 'anthropic-ratelimit-requests-reset': reset }, 'anthropic')).toEqual([])
  })
})

describe('Mistral', () => {
  test('names its window', () => {
    const headers = {
      'x-ratelimit-limit-tokens-minute': '500000',
      'x-ratelimit-remaining-tokens-minute': '499900',
      'x-ratelimit-limit-req-minute': '60',
      'x-ratelimit-limit-tokens-month': '1000000000',
      'ratelimitbysize-limit': '1',
    }
    expect(read(headers, 'mistral')).toEqual([
      { dimension: 'requests', windowMs: 60_000, limit: 60 },
      { dimension: 'tokens', windowMs: 60_000, limit: 500_000, remaining: 499_900 },
    ])
  })

  test('its older headers', () => {
    const headers = {
      'ratelimitbysize-limit': '500000',
      'ratelimitbysize-remaining': '499900',
      'ratelimitbysize-reset': '15',
    }
    expect(read(headers, 'mistral')).toEqual([
      { dimension: 'tokens', windowMs: 60_000, limit: 500_000, remaining: 499_900, resetMs: 15_000 },
    ])
  })
})

describe('IETF', () => {
  test.each([
    [
      { 'ratelimit-policy': '"burst";q=100;w=60', ratelimit: '"default";r=50;t=30' },
      [
        { dimension: 'requests', windowMs: 60_000, limit: 100 },
        { dimension: 'requests', remaining: 50, resetMs: 30_000 },
      ],
    ],
    [
      { 'ratelimit-policy': '"burst";q=100;w=60, "day";q=1000;w=86400', ratelimit: '"day";r=50;t=30,"burst";r=9' },
      [
        { dimension: 'requests', windowMs: 60_000, limit: 100, remaining: 9 },
        { dimension: 'requests', windowMs: DAY_MS, limit: 1_000, remaining: 50, resetMs: 30_000 },
      ],
    ],
    [
      { 'ratelimit-policy': ['"a";q=5;w=1;pk=:cHsdsRa894==:', 'b;q=7'], ratelimit: '"a" ; r=0 ; t=1' },
      [
        { dimension: 'requests', windowMs: 1_000, limit: 5, remaining: 0, resetMs: 1_000 },
        { dimension: 'requests', limit: 7 },
      ],
    ],
    [
      { 'ratelimit-policy': '"peak";q=10;qu="concurrent-requests", "size";q=9;w=60;qu="content-bytes"' },
      [{ dimension: 'concurrency', limit: 10 }],
    ],
    [{ 'ratelimit-policy': '"with \\" , ;";q=3' }, [{ dimension: 'requests', limit: 3 }]],
    // A field that breaks off says nothing.
    [{ 'ratelimit-policy': '"burst";q=100;w=60, "open;q=1' }, []],
    [{ ratelimit: '"default";r=50;t=30 }' }, []],
    [{ ratelimit: '"default";r=-5;t=x' }, []],
  ])('%j', (headers, observations) => {
    expect(read(headers)).toEqual(observations)
  })

  test.each([
    [
      { 'ratelimit-limit': '100', 'ratelimit-remaining': '50', 'ratelimit-reset': '30' },
      { dimension: 'requests', limit: 100, remaining: 50, resetMs: 30_000 },
    ],
    [
      { 'ratelimit-limit': '10, 10;w=1, 50;w=60', 'ratelimit-remaining': '9' },
      { dimension: 'requests', windowMs: 1_000, limit: 10, remaining: 9 },
    ],
    [
      { 'ratelimit-limit': '50', 'ratelimit-policy': '10;w=1, 50;w=60', 'ratelimit-reset': '0.5' },
      { dimension: 'requests', windowMs: 60_000, limit: 50, resetMs: 500 },
    ],
    // Epoch seconds are no time from now.
    [
      { 'ratelimit-remaining': '3', 'ratelimit-reset': '1768478400' },
      { dimension: 'requests', remaining: 3 },
    ],
  ])('older: %j', (headers, expected) => {
    expect(read(headers)).toEqual([expected])
  })
})

test.each([
  {},
  { 'x-ratelimit-limit-requests': 'many', 'x-ratelimit-remaining-tokens': '1e9', 'x-ratelimit-reset-tokens': '?' },
  { 'anthropic-ratelimit-requests-limit': '-5', 'anthropic-ratelimit-tokens-reset': '' },
  { 'x-ratelimit-limit-tokens-minute': '0x10', 'ratelimitbysize-limit': '9007199254740993' },
  { 'ratelimit-limit': '', 'ratelimit-remaining': [], ratelimit: ',', 'ratelimit-policy': ';q=1' },
])('garbage counts as absent: %j', (headers) => {
  for (const provider of ['openai', 'groq', 'anthropic', 'mistral', 'azure'])
    expect(read(headers, provider)).toEqual([])
})

describe('whatever the headers hold', () => {
  const names = [
    ...['limit', 'remaining', 'reset'].flatMap((what) => [
      `x-ratelimit-${what}-requests`,
      `x-ratelimit-${what}-tokens`,
      `x-ratelimit-${what}-tokens-minute`,
      `anthropic-ratelimit-input-tokens-${what}`,
      `ratelimitbysize-${what}`,
      `ratelimit-${what}`,
    ]),
    'ratelimit',
    'ratelimit-policy',
  ]
  const number = fc.oneof(fc.integer(), fc.double(), fc.bigInt()).map(String)
  const duration = fc.tuple(number, fc.constantFrom('ns', 'ms', 's', 'm', 'h', 'd', '')).map((parts) => parts.join(''))
  const member = fc
    .tuple(fc.string(), fc.constantFrom('q', 'w', 'r', 't', 'qu'), number)
    .map(([name, key, value]) => `"${name}";${key}=${value}`)
  const date = fc.date().map((value) => (Number.isNaN(value.getTime()) ? '' : value.toISOString()))
  const value = fc.oneof(
    fc.string(),
    number,
    duration,
    date,
    fc.array(member).map((all) => all.join(', ')),
  )
  const headers = fc.dictionary(fc.constantFrom(...names), fc.oneof(value, fc.array(value), fc.constant(undefined)))

  test('nothing throws, and nothing observed is negative, a fraction or infinite', () => {
    fc.assert(
      fc.property(headers, fc.integer({ min: 0, max: 4e12 }), (given, nowMs) => {
        for (const observed of limitObservations({ headers: given }, nowMs)) {
          const { dimension, part, windowMs, ...facts } = observed
          expect(['requests', 'tokens', 'concurrency']).toContain(dimension)
          expect([undefined, 'prompt', 'completion']).toContain(part)
          if (windowMs !== undefined) expect(windowMs).toBeGreaterThan(0)
          expect(Object.keys(facts).length).toBeGreaterThan(0)
          for (const fact of [windowMs ?? 1, ...Object.values(facts)]) {
            expect(Number.isSafeInteger(fact) && fact >= 0).toBe(true)
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  test('a longer field takes no more than its length in time', () => {
    const startedMs = performance.now()
    for (const text of [
      '"'.repeat(50_000),
      '"a";q=1,'.repeat(20_000),
      ';'.repeat(50_000),
      `"${'\\"'.repeat(50_000)}`,
    ]) {
      limitObservations({ headers: { ratelimit: text, 'ratelimit-policy': text, 'ratelimit-limit': text } }, NOW_MS)
    }
    expect(performance.now() - startedMs).toBeLessThan(2_000)
  })
})
