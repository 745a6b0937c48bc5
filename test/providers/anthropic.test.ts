import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { answer, classifies, type Row } from './answers.js'

const anthropic = providerByName('anthropic')!
const error = (type: string, message: string, more: object = {}) => ({
  type: 'error',
  error: { type, message, ...more },
  request_id: 'req_1',
})
const SPENT = { details: { error_code: 'enforced_spend_limit_reached' } }
const INPUT = "This request would exceed your organization's rate limit of 30,000 input tokens per minute"

describe('Anthropic', () => {
  const rows: Row[] = [
    [429, error('rate_limit_error', INPUT), 'RLT', true],
    [429, error('rate_limit_error', INPUT.replace('30,000 input tokens', '50 requests')), 'RLR', true],
    [429, error('rate_limit_error', 'Number of concurrent connections has exceeded your rate limit'), 'CONC', true],
    [429, error('rate_limit_error', 'Your usage has grown too fast'), 'RLR', true],
    // A 429 that no minute mends.
    [429, error('rate_limit_error', 'You have reached your spend limit', SPENT), 'QUOTA', false],
    [429, { ...error('rate_limit_error', 'You have reached your spend limit'), ...SPENT }, 'QUOTA', false],
    [529, error('overloaded_error', 'Overloaded'), 'OVL', true],
    [402, error('billing_error', 'There is an issue with your billing'), 'BAL', false],
    [400, error('invalid_request_error', 'Your credit balance is too low to access the API'), 'BAL', false],
    [413, error('request_too_large', 'Request exceeds the maximum size'), 'BAD', false],
    [400, error('invalid_request_error', 'prompt is too long: 210000 tokens > 200000 maximum'), 'CTX', false],
    [400, error('invalid_request_error', 'input length and `max_tokens` exceed context limit'), 'CTX', false],
    [400, error('invalid_request_error', 'max_tokens: Field required'), 'BAD', false],
    [401, error('authentication_error', 'invalid x-api-key'), 'AUTH', false],
    [403, error('permission_error', 'no'), 'AUTH', false],
    [404, error('not_found_error', 'model: claude-x'), 'BAD', false],
    [500, error('api_error', 'Internal server error'), 'SRV', true],
    [504, error('timeout_error', 'x'), 'SRV', true],
  ]
  classifies(anthropic, rows)

  test.each([
    ['overloaded_error', 'OVL'],
    ['rate_limit_error', 'RLR'],
    ['api_error', 'SRV'],
    ['billing_error', 'BAL'],
    ['invalid_request_error', 'BAD'],
    ['authentication_error', 'AUTH'],
    ['request_too_large', 'BAD'],
    ['something_new', 'SRV'],
  ])('event: error in a stream says %s by its type alone: %s', (type, failureClass) => {
    expect(anthropic.classifyChunk(error(type, 'x'))?.class).toBe(failureClass)
  })

  test('the body as the SDK throws it, wrapped once more', () => {
    const wrapped = { error: error('rate_limit_error', INPUT, SPENT) }
    expect(anthropic.classify(answer(429, wrapped))).toMatchObject({ class: 'QUOTA', providerCode: 'rate_limit_error' })
  })

  test('retry-after, and a reset of hours on a spend limit', () => {
    const limited = answer(429, error('rate_limit_error', INPUT), { 'retry-after': '17' })
    expect(anthropic.classify(limited)?.retryAfterMs).toBe(17_000)
    const spent = answer(429, error('rate_limit_error', 'x', SPENT), { 'retry-after': '86400' })
    expect(anthropic.classify(spent)).toMatchObject({ class: 'QUOTA', retryAfterMs: 86_400_000 })
  })

  test('an answer, whatever stopped it, is none', () => {
    for (const stop_reason of ['end_turn', 'max_tokens', 'refusal']) {
      expect(anthropic.classify(answer(200, { type: 'message', content: [], stop_reason }))).toBeUndefined()
    }
  })
})

describe('usage', () => {
  const cached = { cache_creation_input_tokens: 30, cache_read_input_tokens: 400 }

  test.each([
    [
      { input_tokens: 5, output_tokens: 7 },
      { promptTokens: 5, completionTokens: 7, totalTokens: 12 },
    ],
    [
      { input_tokens: 5, output_tokens: 7, ...cached },
      { promptTokens: 435, completionTokens: 7, totalTokens: 442 },
    ],
    [{ input_tokens: 5 }, { promptTokens: 5, completionTokens: 0, totalTokens: 5 }],
    [{ output_tokens: 5 }, undefined],
    [undefined, undefined],
  ])('of a body: %j', (usage, expected) => {
    expect(anthropic.usage({ type: 'message', usage })).toEqual(expected)
  })

  const start = { type: 'message_start', message: { usage: { input_tokens: 5, ...cached, output_tokens: 1 } } }
  const delta = (usage: object) => ({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage })

  test('of a stream: the prompt comes first, the answer is cumulative', () => {
    const first = anthropic.streamUsage(start)
    expect(first).toEqual({ promptTokens: 435, completionTokens: 1, totalTokens: 436 })
    const second = anthropic.streamUsage(delta({ output_tokens: 15 }), first)
    expect(second).toEqual({ promptTokens: 435, completionTokens: 15, totalTokens: 450 })
    // The prompt's count may come again, without the cache's part.
    const third = anthropic.streamUsage(delta({ output_tokens: 20, input_tokens: 5 }), second)
    expect(third).toEqual({ promptTokens: 435, completionTokens: 20, totalTokens: 455 })
  })

  test.each([{ type: 'ping' }, { type: 'message_stop' }, delta({})])('%j says nothing', (chunk) => {
    expect(anthropic.streamUsage(chunk, { promptTokens: 1, completionTokens: 1, totalTokens: 2 })).toBeUndefined()
  })

  test.each([{ text: 'eins zwei drei' }, { partial_json: '{"a":' }, { thinking: '好的好' }])(
    '%j is estimated until the count comes',
    (piece) => {
      const before = { promptTokens: 10, completionTokens: 1, totalTokens: 11 }
      const seen = anthropic.streamUsage({ type: 'content_block_delta', delta: piece }, before)!
      expect(seen).toMatchObject({ promptTokens: 10, totalTokens: 10 + seen.completionTokens })
      expect(seen.completionTokens).toBeGreaterThanOrEqual(4)
      expect(anthropic.streamUsage(delta({ output_tokens: 2 }), seen)).toMatchObject({ completionTokens: 2 })
      expect(anthropic.streamUsage({ type: 'content_block_delta', delta: piece })).toBeUndefined()
    },
  )

  test('an answer without its prompt says nothing: the rest would be refunded', () => {
    expect(anthropic.streamUsage(delta({ output_tokens: 15 }))).toBeUndefined()
    expect(anthropic.streamUsage(delta({ output_tokens: 15, input_tokens: 5 }))?.totalTokens).toBe(20)
  })
})
