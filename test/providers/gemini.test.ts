import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { answer, classifies, type Row } from './answers.js'

const gemini = providerByName('gemini')!
/** 13:00:00.250 in California, in winter: 11 hours to midnight. */
const NOW_MS = Date.UTC(2026, 0, 15, 21, 0, 0, 250)
const TO_MIDNIGHT_MS = 11 * 3_600_000 - 250

const error = (code: number, status: string, message = 'x', details: unknown = []) => ({
  error: { code, message, status, details },
})
const violation = (quotaId: string, metric = 'generate_content_free_tier_requests') => ({
  quotaMetric: `generativelanguage.googleapis.com/${metric}`,
  quotaId,
})
const details = (retryDelay: string | undefined, ...violations: object[]) => [
  { '@type': 'type.googleapis.com/google.rpc.QuotaFailure', violations },
  { '@type': 'type.googleapis.com/google.rpc.Help', links: [] },
  ...(retryDelay === undefined ? [] : [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay }]),
]
const exhausted = (retryDelay: string | undefined, ...violations: object[]) =>
  error(429, 'RESOURCE_EXHAUSTED', 'You exceeded your current quota', details(retryDelay, ...violations))

const PER_MINUTE = violation('GenerateRequestsPerMinutePerProjectPerModel-FreeTier')
const PER_DAY = violation('GenerateRequestsPerDayPerProjectPerModel-FreeTier')
const TOKENS = violation(
  'GenerateContentInputTokensPerModelPerMinute-FreeTier',
  'generate_content_free_tier_input_token_count',
)

describe('Gemini', () => {
  const rows: Row[] = [
    [429, exhausted('42s', PER_MINUTE), 'RLR', true, 42_000],
    [429, exhausted('42.035s', TOKENS), 'RLT', true, 42_035],
    // The short delay means nothing.
    [429, exhausted('42s', PER_DAY), 'QUOTA', false, TO_MIDNIGHT_MS],
    [429, exhausted(undefined, PER_DAY), 'QUOTA', false, TO_MIDNIGHT_MS],
    [429, exhausted('42s', TOKENS, PER_MINUTE, PER_DAY), 'QUOTA', false, TO_MIDNIGHT_MS],
    [429, exhausted('72000s', PER_DAY), 'QUOTA', false, 72_000_000],
    [429, exhausted('1s', { quotaMetric: 'x/generate_requests_per_model_per_day' }), 'QUOTA', false, TO_MIDNIGHT_MS],
    [429, exhausted('soon', PER_MINUTE), 'RLR', true],
    [429, error(429, 'RESOURCE_EXHAUSTED', 'Resource has been exhausted (e.g. check quota).'), 'RLR', true],
    [429, error(429, 'RESOURCE_EXHAUSTED', 'Quota exceeded.\nPlease retry in 45.578569677s.'), 'RLR', true, 45_579],
    [429, error(429, 'RESOURCE_EXHAUSTED', 'x', 'no list'), 'RLR', true],
    [429, error(429, 'RESOURCE_EXHAUSTED', 'x', [null, 7, { violations: [null] }]), 'RLR', true],
    [503, error(503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.'), 'OVL', true],
    [500, error(500, 'INTERNAL', 'An internal error has occurred'), 'SRV', true],
    [400, error(400, 'INVALID_ARGUMENT', 'API key not valid. Please pass a valid API key.'), 'AUTH', false],
    [400, error(400, 'INVALID_ARGUMENT', 'Multiple authentication credentials received.'), 'BAD', false],
    [
      400,
      error(400, 'INVALID_ARGUMENT', 'The input token count (1200000) exceeds the maximum number of tokens allowed'),
      'CTX',
      false,
    ],
    [403, error(403, 'PERMISSION_DENIED'), 'AUTH', false],
    [404, error(404, 'NOT_FOUND'), 'BAD', false],
  ]
  classifies(gemini, rows, NOW_MS)

  test.each(rows.slice(0, 4))('%i in an array, as the compatible path wraps it: %j', (status, body, failureClass) => {
    expect(gemini.classify(answer(status, [body]), NOW_MS)?.class).toBe(failureClass)
    expect(gemini.classify(answer(status, JSON.stringify([body])), NOW_MS)?.class).toBe(failureClass)
    expect(gemini.classifyChunk([body], NOW_MS)?.class).toBe(failureClass)
  })
})

describe("a day's quota is back at midnight in California", () => {
  test.each([
    ['in winter', '2026-01-15T07:59:30.999Z', '2026-01-15T08:00:00Z'],
    ['at midnight itself', '2026-01-15T08:00:00Z', '2026-01-16T08:00:00Z'],
    ['in summer', '2026-07-15T12:00:00Z', '2026-07-16T07:00:00Z'],
    ['before the day of 23 hours', '2026-03-08T07:00:00Z', '2026-03-08T08:00:00Z'],
    ['on the day of 23 hours, before', '2026-03-08T08:30:00Z', '2026-03-09T07:00:00Z'],
    ['on the day of 23 hours, after', '2026-03-08T12:00:00Z', '2026-03-09T07:00:00Z'],
    ['on the day of 25 hours, before', '2026-11-01T07:30:00Z', '2026-11-02T08:00:00Z'],
    ['on the day of 25 hours, in the hour that comes twice', '2026-11-01T09:30:00Z', '2026-11-02T08:00:00Z'],
    ['on the day of 25 hours, after', '2026-11-01T12:00:00Z', '2026-11-02T08:00:00Z'],
  ])('%s', (_, now, midnight) => {
    const failure = gemini.classify(answer(429, exhausted('1s', PER_DAY)), Date.parse(now))
    expect(failure?.retryAfterMs).toBe(Date.parse(midnight) - Date.parse(now))
  })
})

describe('usage', () => {
  const native = { promptTokenCount: 5, candidatesTokenCount: 7, thoughtsTokenCount: 100, totalTokenCount: 112 }

  test.each([
    [{ usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } }, [5, 7, 12]],
    [{ usageMetadata: native }, [5, 107, 112]],
    [{ usageMetadata: { promptTokenCount: 5 } }, [5, 0, 5]],
    [{ usageMetadata: {} }, undefined],
    [{ choices: [] }, undefined],
  ])('of %j, whole or in a stream', (body, expected) => {
    const [promptTokens, completionTokens, totalTokens] = expected ?? []
    const usage = expected && { promptTokens, completionTokens, totalTokens }
    expect(gemini.usage(body)).toEqual(usage)
    expect(gemini.streamUsage(body)).toEqual(usage)
  })
})
