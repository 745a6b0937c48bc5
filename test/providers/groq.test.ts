import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { classifies, error, type Row } from './answers.js'

const groq = providerByName('groq')!
const REACHED = 'Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_1` on'
const TOO_LARGE = 'Request too large for model `llama-3.3-70b-versatile` on tokens per minute (TPM)'

describe('Groq', () => {
  const rows: Row[] = [
    [
      429,
      error(
        'rate_limit_exceeded',
        'tokens',
        `${REACHED} tokens per day (TPD): Limit 100000, Used 99836, Requested 1182. Please try again in 14m39.552s.`,
      ),
      'RLT',
      true,
      879_552,
    ],
    [
      429,
      error('rate_limit_exceeded', 'requests', `${REACHED} requests per minute (RPM): Limit 30, Used 30, Requested 1.`),
      'RLR',
      true,
    ],
    [413, error('rate_limit_exceeded', 'tokens', `${TOO_LARGE}: Limit 6000, Requested 7000`), 'BAD', false],
    [498, error('capacity_exceeded', 'capacity', 'The model is at capacity'), 'OVL', true],
    [498, '', 'OVL', true],
    [400, error('context_length_exceeded', 'invalid_request_error', 'x'), 'CTX', false],
    [400, error('json_validate_failed', 'invalid_request_error', 'x'), 'BAD', false],
    [401, error('invalid_api_key', 'invalid_request_error', 'x'), 'AUTH', false],
    [503, error('', 'internal_server_error', 'Service Unavailable'), 'OVL', true],
  ]
  classifies(groq, rows)

  test('usage in a stream: in x_groq, or where OpenAI has it', () => {
    const usage = { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 }
    const expected = { promptTokens: 5, completionTokens: 7, totalTokens: 12 }
    const choices = [{ index: 0, delta: {}, finish_reason: 'stop' }]
    expect(groq.streamUsage({ choices, x_groq: { id: 'req_1', usage } })).toEqual(expected)
    expect(groq.streamUsage({ choices: [], usage })).toEqual(expected)
    expect(groq.streamUsage({ choices, x_groq: { id: 'req_1' } })).toBeUndefined()
    expect(groq.usage({ choices, usage })).toEqual(expected)
  })

  test('a stream that it stops early says so in x_groq', () => {
    expect(groq.classifyChunk({ choices: [], x_groq: { error: 'over capacity' } })).toMatchObject({
      class: 'SRV',
      message: 'groq 200: over capacity',
    })
    expect(groq.classifyChunk({ choices: [], x_groq: { id: 'req_1' } })).toBeUndefined()
  })
})
