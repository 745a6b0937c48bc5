import { describe, expect, test } from 'vitest'
import { openai } from '../../src/providers/index.js'
import type { ProviderResponse } from '../../src/providers/provider.js'

const classify = (status: number, body: unknown, headers: ProviderResponse['headers'] = {}) =>
  openai.classify({ status, headers, body }, Date.UTC(2026, 0, 1))
const error = (code: unknown, type: string, message: string) => ({ error: { message, type, param: null, code } })

const REACHED = 'Rate limit reached for gpt-4o in organization org-1 on'
const TOKENS = `${REACHED} tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 1.5s.`
const REQUESTS = `${REACHED} requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.`
const TOO_LARGE =
  'Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 250011. The input or output tokens must be reduced.'

describe('OpenAI', () => {
  test.each([
    [429, error('rate_limit_exceeded', 'tokens', TOKENS), 'RLT', true, 1_500],
    [429, error('rate_limit_exceeded', 'requests', REQUESTS), 'RLR', true, 20_000],
    [429, error('rate_limit_exceeded', '', TOKENS), 'RLT', true, 1_500],
    [429, error(null, '', 'Too Many Requests'), 'RLR', true, undefined],
    [429, error('rate_limit_exceeded', 'tokens', TOO_LARGE), 'BAD', false, undefined],
    [
      429,
      error('rate_limit_exceeded', 'tokens', 'Limit 30000, Requested 250011. Please try again in 1s.'),
      'BAD',
      false,
      undefined,
    ],
    [413, error('rate_limit_exceeded', 'tokens', TOO_LARGE), 'BAD', false, undefined],
    // Numbers may be grouped.
    [
      429,
      error('rate_limit_exceeded', 'tokens', 'Limit 1,000,000, Used 999,000, Requested 2,000. Try again in 1.5s.'),
      'RLT',
      true,
      1_500,
    ],
    [429, error('rate_limit_exceeded', 'tokens', 'Limit 30,000, Requested 250,011.'), 'BAD', false, undefined],
    [429, error('rate_limit_exceeded', 'tokens', 'Limit 30,000,Requested 31000'), 'BAD', false, undefined],
    [
      429,
      error('insufficient_quota', 'insufficient_quota', 'You exceeded your current quota'),
      'BAL',
      false,
      undefined,
    ],
    [429, error(null, 'insufficient_quota', 'You exceeded your current quota'), 'BAL', false, undefined],
    [429, error('organization_spend_limit_exceeded', '', 'x'), 'BAL', false, undefined],
    [429, error('project_spend_limit_exceeded', 'tokens', 'x'), 'BAL', false, undefined],
    [
      429,
      error('429', '', 'exceeded token rate limit of your tier. Please retry after 22 seconds.'),
      'RLT',
      true,
      22_000,
    ],
    [400, error('context_length_exceeded', 'invalid_request_error', 'too long'), 'CTX', false, undefined],
    [
      400,
      error(400, 'BadRequestError', "This model's maximum context length is 4096 tokens."),
      'CTX',
      false,
      undefined,
    ],
    [400, error('content_filter', '', 'filtered'), 'FILTER', false, undefined],
    [400, error(null, 'invalid_request_error', 'bad'), 'BAD', false, undefined],
    [401, error('invalid_api_key', 'invalid_request_error', 'Incorrect API key'), 'AUTH', false, undefined],
    [403, error('unsupported_country', '', 'no'), 'AUTH', false, undefined],
    [404, error('model_not_found', 'invalid_request_error', 'no such model'), 'BAD', false, undefined],
    [408, '', 'TMO', true, undefined],
    [413, '', 'BAD', false, undefined],
    [500, error('server_error', 'server_error', 'oops'), 'SRV', true, undefined],
    [502, '<html>', 'SRV', true, undefined],
    [504, '', 'SRV', true, undefined],
    [503, error(null, 'service_unavailable_error', 'The engine is overloaded'), 'OVL', true, undefined],
    [503, { error: 'server busy, please try again.  maximum pending requests exceeded' }, 'OVL', true, undefined],
    [200, error(null, '', 'Provider returned error'), 'SRV', true, undefined],
  ] as const)('%i %j is %s', (status, body, failureClass, retryable, retryAfterMs) => {
    const failure = classify(status, body)
    expect(failure).toMatchObject({ class: failureClass, retryable, status })
    expect(failure?.retryAfterMs).toBe(retryAfterMs)
  })

  test.each([
    [402, 'Insufficient credits', 'BAL'],
    [429, 'Rate limited', 'RLR'],
  ] as const)('a code %i under HTTP 200 is the status it names', (code, message, failureClass) => {
    expect(classify(200, error(code, '', message))).toMatchObject({ class: failureClass, status: code })
  })

  test('a success, also one that the content filter ended', () => {
    expect(classify(200, { choices: [{ finish_reason: 'stop' }] })).toBeUndefined()
    expect(classify(200, { choices: [{ finish_reason: 'content_filter' }] })).toBeUndefined()
    expect(classify(200, { choices: [], error: null })).toBeUndefined()
    expect(classify(200, undefined)).toBeUndefined()
  })

  test.each([
    [{ 'retry-after': '3' }, 3_000],
    [{ 'retry-after': '1' }, 1_500],
    [{ 'retry-after-ms': '1700', 'retry-after': '1' }, 1_700],
    [{ 'retry-after-ms': '1200', 'retry-after': '2' }, 2_000],
    [{ 'retry-after': '-3' }, 1_500],
  ])('hints are never shortened: %j → %i ms', (headers, retryAfterMs) => {
    expect(classify(429, error('rate_limit_exceeded', 'tokens', TOKENS), headers)?.retryAfterMs).toBe(retryAfterMs)
  })

  test.each([
    [500, 'false', false],
    [429, 'false', false],
    [302, 'true', true],
    [400, 'true', false],
    [500, 'maybe', true],
  ])('%i with x-should-retry: %s → retryable %s', (status, header, retryable) => {
    expect(classify(status, {}, { 'x-should-retry': header })?.retryable).toBe(retryable)
  })

  test('a header cannot make a bill retryable', () => {
    const body = error('insufficient_quota', '', 'x')
    expect(classify(429, body, { 'x-should-retry': 'true' })?.retryable).toBe(false)
  })
})

describe('usage', () => {
  test.each([
    [
      { usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 } },
      { promptTokens: 5, completionTokens: 7, totalTokens: 12 },
    ],
    [{ usage: { prompt_tokens: 5, completion_tokens: 7 } }, { promptTokens: 5, completionTokens: 7, totalTokens: 12 }],
    [{ usage: { prompt_tokens: 5 } }, { promptTokens: 5, completionTokens: 0, totalTokens: 5 }],
    [{ usage: null }, undefined],
    [{ usage: { prompt_tokens: -1 } }, undefined],
    [{ usage: { prompt_tokens: 1e300 } }, undefined],
    [{}, undefined],
    ['no JSON', undefined],
    [undefined, undefined],
  ])('%j', (body, usage) => {
    expect(openai.usage(body)).toEqual(usage)
  })
})

describe('in a stream', () => {
  test.each([
    [error('server_error', 'server_error', 'The server had an error'), 'SRV'],
    [error('rate_limit_exceeded', 'tokens', TOKENS), 'RLT'],
    [error(null, 'rate_limit_error', 'Slow down'), 'RLR'],
    [error(null, 'invalid_request_error', 'x'), 'BAD'],
    [error('insufficient_quota', '', 'x'), 'BAL'],
    [error(null, 'service_unavailable_error', 'x'), 'OVL'],
    [error(null, 'unheard_of', 'x'), 'SRV'],
    ['{"error":{"message":"x"}}', undefined],
    [{ choices: [{ delta: { content: 'error' } }], error: null }, undefined],
  ])('%j is %s', (chunk, failureClass) => {
    expect(openai.classifyChunk(chunk)?.class).toBe(failureClass)
  })

  test('usage is in a chunk of its own; before it there is null', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }
    expect(openai.streamUsage({ choices: [{ delta: {}, finish_reason: 'stop' }], usage: null })).toBeUndefined()
    expect(openai.streamUsage({ choices: [], usage })).toEqual({
      promptTokens: 5,
      completionTokens: 7,
      totalTokens: 12,
    })
  })
})
