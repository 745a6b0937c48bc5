import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { answer, classifies, type Row } from './answers.js'

const moonshot = providerByName('moonshot')!
const error = (type: string, message: string) => ({ error: { message, type } })
const reached = (what: string, after = '') =>
  error('rate_limit_reached_error', `Your account org-1<ak-1> request reached ${what}${after}`)

describe('Moonshot', () => {
  const rows: Row[] = [
    [429, reached('max organization concurrency: 3', ', please try again after 1 seconds'), 'CONC', true, 1_000],
    [429, reached('max organization concurrency: 3'), 'CONC', true],
    [429, reached('organization max RPM: 20', ', please try again after 3 seconds'), 'RLR', true, 3_000],
    [429, reached('organization TPM rate limit, current: 500001, limit: 500000'), 'RLT', true],
    [429, reached('organization TPD rate limit, current: 1500001, limit: 1500000'), 'QUOTA', false],
    [429, reached('organization TPD rate limit', ', please try again after 7200 seconds'), 'QUOTA', false, 7_200_000],
    [429, error('engine_overloaded_error', 'The engine is currently overloaded, please try again later'), 'OVL', true],
    // A 429 that no wait mends.
    [429, error('exceeded_current_quota_error', 'Your account is suspended, please check your plan'), 'BAL', false],
    [403, error('exceeded_current_quota_error', 'x'), 'BAL', false],
    [400, error('content_filter', 'The request was rejected because it was considered high risk'), 'FILTER', false],
    [400, error('invalid_request_error', 'Input token length too long'), 'BAD', false],
    [400, error('invalid_request_error', "This model's maximum context length is 8192"), 'CTX', false],
    [
      400,
      error(
        'invalid_request_error',
        'Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)',
      ),
      'CTX',
      false,
    ],
    [401, error('invalid_authentication_error', 'Invalid Authentication'), 'AUTH', false],
    [404, error('resource_not_found_error', 'x'), 'BAD', false],
    [500, error('server_error', 'x'), 'SRV', true],
  ]
  classifies(moonshot, rows)

  test('a longer header wins over the prose, a shorter one does not', () => {
    const body = reached('organization max RPM: 20', ', please try again after 3 seconds')
    expect(moonshot.classify(answer(429, body, { 'retry-after': '9' }))?.retryAfterMs).toBe(9_000)
    expect(moonshot.classify(answer(429, body, { 'retry-after': '1' }))?.retryAfterMs).toBe(3_000)
  })

  test('usage is on the chunk that ends it', () => {
    const chunk = {
      choices: [{ index: 0, delta: {}, finish_reason: 'stop' }],
      usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 },
    }
    expect(moonshot.streamUsage(chunk)).toEqual({ promptTokens: 5, completionTokens: 7, totalTokens: 12 })
  })

  test('usage is in the choice that ends it, too', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }
    const choice = { index: 0, delta: {}, finish_reason: 'stop' }
    const expected = { promptTokens: 5, completionTokens: 7, totalTokens: 12 }
    expect(moonshot.streamUsage({ choices: [{ ...choice, usage }] })).toEqual(expected)
    expect(moonshot.streamUsage({ choices: [choice] })).toBeUndefined()
    expect(moonshot.streamUsage({ choices: [null, { ...choice, usage: null }] })).toBeUndefined()
    expect(moonshot.streamUsage({ choices: 'none' })).toBeUndefined()
  })
})
