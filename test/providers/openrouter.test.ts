import { describe, expect, test } from 'vitest'
import { providerByName } from '../../src/providers/index.js'
import { answer, classifies, type Row } from './answers.js'

const openrouter = providerByName('openrouter')!
const NOW_MS = Date.UTC(2026, 0, 15, 23)
const error = (code: number, message: string, metadata?: object) => ({
  error: { code, message, ...(metadata && { metadata }) },
  user_id: 'user_1',
})
const limited = (what: string, resetMs?: number | string) =>
  error(429, `Rate limit exceeded: ${what}`, {
    headers: { 'X-RateLimit-Limit': '200', 'X-RateLimit-Remaining': '0', 'X-RateLimit-Reset': String(resetMs) },
  })

describe('OpenRouter', () => {
  const rows: Row[] = [
    [402, error(402, 'Insufficient credits'), 'BAL', false],
    [429, error(429, 'Provider returned error', { provider_name: 'x' }), 'RLR', true],
    [429, limited('free-models-per-min', NOW_MS + 12_000), 'RLR', true, 12_000],
    [429, limited('free-models-per-day', NOW_MS + 3_600_000), 'QUOTA', false, 3_600_000],
    [429, limited('free-models-per-day', NOW_MS - 1), 'QUOTA', false],
    [429, limited('free-models-per-day', 'soon'), 'QUOTA', false],
    [502, error(502, 'Provider returned error'), 'OVL', true],
    [503, error(503, 'No instances available'), 'OVL', true],
    [408, error(408, 'Request timed out'), 'TMO', true],
    [403, error(403, 'Input was flagged', { reasons: ['violence'] }), 'FILTER', false],
    [403, error(403, 'Key limit exceeded'), 'AUTH', false],
    [401, error(401, 'No auth credentials found'), 'AUTH', false],
    [400, error(400, "This endpoint's maximum context length is 8192 tokens"), 'CTX', false],
    [400, error(400, 'x is not a valid model ID'), 'BAD', false],
  ]
  classifies(openrouter, rows, NOW_MS)

  test.each(rows)('under HTTP 200 %i %j is %s all the same', (status, body, failureClass, retryable, retryAfterMs) => {
    const failure = openrouter.classify(answer(200, body), NOW_MS)
    expect(failure).toMatchObject({ class: failureClass, retryable, status })
    expect(failure?.retryAfterMs).toBe(retryAfterMs)
  })

  test.each([
    [502, 'OVL'],
    [429, 'RLR'],
    [402, 'BAL'],
    [400, 'BAD'],
  ])('a chunk with error %i in the middle of a stream is %s', (code, failureClass) => {
    const chunk = {
      id: 'gen-1',
      object: 'chat.completion.chunk',
      ...error(code, 'Provider disconnected'),
      choices: [{ index: 0, delta: { content: '' }, finish_reason: 'error' }],
    }
    expect(openrouter.classifyChunk(chunk)?.class).toBe(failureClass)
  })

  test('an error inside a choice, and one that says no more than its reason', () => {
    const choice = { index: 0, message: { content: 'half' }, finish_reason: 'error' }
    const { error: inner } = error(429, 'Rate limited')
    expect(openrouter.classify(answer(200, { choices: [{ ...choice, error: inner }] }))?.class).toBe('RLR')
    expect(openrouter.classify(answer(200, { choices: [choice] }))).toMatchObject({
      class: 'SRV',
      providerCode: 'error',
    })
    expect(openrouter.classify(answer(200, { choices: [{ ...choice, finish_reason: 'stop' }] }))).toBeUndefined()
  })
})
