import { describe, expect, test } from 'vitest'
import { openai, providerByName } from '../../src/providers/index.js'
import { answer, classifies, error, type Row } from './answers.js'

const dashscope = providerByName('dashscope')!
/** The native path's, which the compatible one lets through. */
const native = (code: string, message: string) => ({ code, message, request_id: 'x' })
const QUOTA = 'You exceeded your current quota, please check your plan and billing details.'

describe('DashScope', () => {
  const rows: Row[] = [
    [429, error('limit_requests', 'limit_requests', 'You exceeded your current requests list.'), 'RLR', true],
    [429, error('insufficient_quota', 'insufficient_quota', QUOTA), 'RLT', true],
    [429, error('limit_burst_rate', 'limit_burst_rate', 'Request rate increased too quickly.'), 'RLR', true],
    [429, native('Throttling.Concurrency', 'Too many concurrent requests'), 'CONC', true],
    [429, error('Throttling.Concurrency', '', 'x'), 'CONC', true],
    [429, native('Throttling.RateQuota', 'Requests rate limit exceeded'), 'RLR', true],
    [429, native('Throttling.AllocationQuota', 'Allocated quota exceeded'), 'RLT', true],
    [429, native('Throttling.BurstRate', 'x'), 'RLR', true],
    [429, native('Throttling', 'x'), 'RLR', true],
    [400, error('Arrearage', 'Arrearage', 'Access denied, your account is overdue.'), 'BAL', false],
    [400, error(null, 'Arrearage', 'x'), 'BAL', false],
    // No key is wrong: the free tokens are used up, and the account is to pay for none.
    [
      403,
      error(
        'AllocationQuota.FreeTierOnly',
        'AllocationQuota.FreeTierOnly',
        'The free tier of the model has been exhausted.',
      ),
      'BAL',
      false,
    ],
    [400, error('data_inspection_failed', '', 'Input data may contain inappropriate content.'), 'FILTER', false],
    [400, native('DataInspectionFailed', 'x'), 'FILTER', false],
    [400, error('invalid_parameter_error', '', 'Range of input length should be [1, 129024]'), 'CTX', false],
    [400, error('invalid_parameter_error', 'invalid_request_error', 'x'), 'BAD', false],
    [401, error('invalid_api_key', 'invalid_request_error', 'Incorrect API key provided.'), 'AUTH', false],
    [403, error('AccessDenied', '', 'x'), 'AUTH', false],
    [500, error('internal_error', '', 'x'), 'SRV', true],
    [503, native('ModelServingError', 'x'), 'OVL', true],
  ]
  classifies(dashscope, rows)

  test('insufficient_quota is the bill at OpenAI, and tokens per minute here', () => {
    const response = answer(429, error('insufficient_quota', 'insufficient_quota', QUOTA))
    expect([openai, dashscope].map((provider) => provider.classify(response)?.class)).toEqual(['BAL', 'RLT'])
  })

  test('usage is in the chunk after the last, where it was asked for', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }
    expect(dashscope.streamUsage({ choices: [], usage })?.totalTokens).toBe(12)
    expect(dashscope.streamUsage({ choices: [{ delta: {} }], usage: null })).toBeUndefined()
  })
})
