import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { answer, classifies, type Row } from './answers.js'

const mistral = providerByName('mistral')!
/** Mistral's errors are not wrapped. */
const bare = (type: string, code: string | null, message: string) => ({
  object: 'error',
  message,
  type,
  param: null,
  code,
})
const CAPACITY = 'Service tier capacity exceeded for this model.'

describe('Mistral', () => {
  const rows: Row[] = [
    [429, bare('service_tier_capacity_exceeded', '3505', CAPACITY), 'OVL', true],
    [429, bare('service_tier_capacity_exceeded', null, CAPACITY), 'OVL', true],
    [429, bare('', '3505', CAPACITY), 'OVL', true],
    [429, { message: 'Requests rate limit exceeded' }, 'RLR', true],
    [429, bare('rate_limited', '1300', 'Rate limit exceeded'), 'RLR', true],
    [402, { message: 'Payment required' }, 'BAL', false],
    [401, { message: 'Unauthorized', request_id: 'x' }, 'AUTH', false],
    [
      422,
      { detail: [{ loc: ['body', 'messages'], msg: 'field required', type: 'value_error.missing' }] },
      'BAD',
      false,
    ],
    [
      400,
      bare('invalid_request_error', '3051', 'This model has a maximum context length of 32768 tokens'),
      'CTX',
      false,
    ],
    [400, bare('invalid_model', '1500', 'Invalid model: x'), 'BAD', false],
    [500, bare('internal_server_error', '1000', 'Service unavailable.'), 'SRV', true],
    [503, '', 'OVL', true],
  ]
  classifies(mistral, rows)

  test('its words reach the message, wrapped or not', () => {
    const failure = mistral.classify(answer(429, { message: 'Requests rate limit exceeded' }))
    expect(failure?.message).toBe('mistral 429: Requests rate limit exceeded')
    const wrapped = mistral.classify(answer(429, bare('service_tier_capacity_exceeded', '3505', CAPACITY)))
    expect(wrapped).toMatchObject({ message: `mistral 429 3505: ${CAPACITY}`, providerCode: '3505' })
  })

  test('an error in a stream', () => {
    expect(mistral.classifyChunk(bare('service_tier_capacity_exceeded', '3505', CAPACITY))?.class).toBe('OVL')
  })

  test('usage is on the chunk that ends it', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }
    const expected = { promptTokens: 5, completionTokens: 7, totalTokens: 12 }
    expect(mistral.usage({ choices: [], usage })).toEqual(expected)
    expect(mistral.streamUsage({ choices: [{ delta: {}, finish_reason: 'stop' }], usage })).toEqual(expected)
    expect(mistral.streamUsage({ choices: [{ delta: { content: 'x' }, finish_reason: null }] })).toBeUndefined()
  })
})
