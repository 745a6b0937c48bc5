import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { answer, classifies, error, type Row } from './answers.js'

const azure = providerByName('azure')!
const exceeded = (what: string, seconds: number) =>
  error(
    '429',
    '',
    `Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded ${what} rate limit of your current OpenAI S0 pricing tier. Please retry after ${seconds} seconds.`,
  )

describe('Azure OpenAI', () => {
  const rows: Row[] = [
    [429, exceeded('token', 22), 'RLT', true, 22_000],
    [429, exceeded('call', 1), 'RLR', true, 1_000],
    [429, error('insufficient_quota', 'insufficient_quota', 'x'), 'BAL', false],
    [400, error('content_filter', '', 'The response was filtered'), 'FILTER', false],
    [400, error('context_length_exceeded', 'invalid_request_error', 'x'), 'CTX', false],
    [404, error('DeploymentNotFound', '', 'The API deployment for this resource does not exist.'), 'BAD', false],
    [404, error('404', '', 'Resource not found'), 'BAD', false],
    [401, error('401', '', 'Access denied due to invalid subscription key'), 'AUTH', false],
    [408, error('Timeout', '', 'The operation was timeout.'), 'TMO', true],
    [500, error('InternalServerError', '', 'x'), 'SRV', true],
    [503, error('503', '', 'The server is overloaded'), 'OVL', true],
  ]
  classifies(azure, rows)

  test('of prose and both headers the longest counts', () => {
    const headers = { 'retry-after': '23', 'retry-after-ms': '22500' }
    expect(azure.classify(answer(429, exceeded('token', 22), headers))?.retryAfterMs).toBe(23_000)
    expect(azure.classify(answer(429, exceeded('token', 30), headers))?.retryAfterMs).toBe(30_000)
  })

  test("the chunk with the filter's findings is neither error nor usage", () => {
    const chunk = { choices: [], prompt_filter_results: [{ prompt_index: 0, content_filter_results: {} }] }
    expect(azure.classifyChunk(chunk)).toBeUndefined()
    expect(azure.streamUsage(chunk)).toBeUndefined()
  })
})
