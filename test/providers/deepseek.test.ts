import { describe, expect, test } from 'vitest'
import { deepseek } from '../../src/providers/index.js'

const error = (message: string, code = 'invalid_request_error', type = 'unknown_error') => ({
  error: { message, type, param: null, code },
})
const classify = (status: number, body: unknown) => deepseek.classify({ status, headers: {}, body })

describe('DeepSeek', () => {
  test.each([
    [400, 'Content Exists Risk', 'FILTER', false],
    [400, "This model's maximum context length is 65536 tokens. However, you requested 70000", 'CTX', false],
    [400, 'Failed to deserialize the JSON body', 'BAD', false],
    [401, 'Authentication Fails, Your api key: ****1234 is invalid', 'AUTH', false],
    [402, 'Insufficient Balance', 'BAL', false],
    [429, 'Insufficient Balance', 'BAL', false],
    [422, 'Invalid parameters', 'BAD', false],
    [429, 'Rate limit reached', 'CONC', true],
    [500, 'Internal error', 'SRV', true],
    [503, 'Service is too busy', 'OVL', true],
  ])('%i %s is %s', (status, message, failureClass, retryable) => {
    expect(classify(status, error(message))).toMatchObject({ class: failureClass, retryable, status })
  })

  test.each([
    [402, 'BAL'],
    [422, 'BAD'],
    [429, 'CONC'],
    [500, 'SRV'],
    [503, 'OVL'],
  ])('an empty %i is %s', (status, failureClass) => {
    expect(classify(status, '')?.class).toBe(failureClass)
  })

  test('finish_reason insufficient_system_resource is a retryable failure under 200', () => {
    const body = { choices: [{ finish_reason: 'insufficient_system_resource' }], usage: { prompt_tokens: 3 } }
    expect(classify(200, body)).toMatchObject({ class: 'SRV', retryable: true })
    expect(classify(200, `\n\n\n${JSON.stringify(body)}`)?.class).toBe('SRV')
    expect(classify(200, { choices: [{ finish_reason: 'stop' }] })).toBeUndefined()
  })

  test('keep-alive lines before the body', () => {
    const body = `\n\n\r\n${JSON.stringify({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 } })}`
    expect(classify(200, body)).toBeUndefined()
    expect(deepseek.usage(body)).toEqual({ promptTokens: 7, completionTokens: 2, totalTokens: 9 })
    expect(classify(429, `\n\n${JSON.stringify(error('Rate limit reached'))}`)?.class).toBe('CONC')
    expect(classify(200, '\n\n\n')?.class).toBe('SRV')
  })
})

test('in a stream', () => {
  expect(deepseek.classifyChunk(error('Insufficient Balance'))?.class).toBe('BAL')
  expect(deepseek.classifyChunk(error('x', '', 'rate_limit_error'))?.class).toBe('CONC')
  expect(deepseek.classifyChunk(error('x', '', 'service_unavailable_error'))?.class).toBe('OVL')
  const choice = { index: 0, delta: {}, finish_reason: 'insufficient_system_resource' }
  expect(deepseek.classifyChunk({ choices: [choice] })?.class).toBe('SRV')
  const usage = { prompt_tokens: 5, completion_tokens: 7, prompt_cache_hit_tokens: 4, prompt_cache_miss_tokens: 1 }
  const counted = deepseek.streamUsage({ choices: [{ ...choice, finish_reason: 'stop' }], usage })
  expect(counted).toEqual({ promptTokens: 5, completionTokens: 7, totalTokens: 12 })
})
