// What holds of every profile, whatever a provider answers.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PROVIDER_NAMES, providerByName } from '../../src/providers/index.js'
import { parseProseRetryMs, parseRetryAfterMs } from '../../src/providers/retry-after.js'
import { answer } from './answers.js'

const text = fc.oneof(
  fc.string(),
  fc.constantFrom('1302', '1304', '1308', '429', '502', 'tokens', 'rate_limit_error', 'insufficient_quota'),
  fc.nat().map((seconds) => `Please try again in ${seconds}s`),
  fc.date({ noInvalidDate: true }).map((date) => `reset at ${date.toISOString()}`),
)
const value = fc.oneof(fc.jsonValue(), text)
const error = fc.dictionary(fc.constantFrom('code', 'type', 'message', 'status', 'details', 'metadata', 'error'), value)
const choice = fc.dictionary(fc.constantFrom('finish_reason', 'error', 'delta'), value)
const usage = fc.dictionary(
  fc.constantFrom('prompt_tokens', 'completion_tokens', 'input_tokens', 'output_tokens', 'promptTokenCount'),
  fc.oneof(fc.double(), fc.jsonValue()),
)
const body = fc.oneof(
  value,
  fc.record(
    {
      error: fc.oneof(value, error),
      type: fc.constantFrom('message_start', 'message_delta', 'error'),
      message: fc.record({ usage }),
      choices: fc.oneof(value, fc.array(choice)),
      usage,
      usageMetadata: usage,
      x_groq: fc.record({ usage, error: value }),
      done: fc.boolean(),
      eval_count: fc.double(),
    },
    { requiredKeys: [] },
  ),
)
const status = fc.constantFrom(200, 302, 400, 401, 402, 403, 413, 429, 498, 500, 503, 529)
const headers = fc.dictionary(fc.constantFrom('retry-after', 'retry-after-ms', 'x-should-retry'), text)
const nowMs = fc.integer({ min: 0, max: 4e12 })

describe.each(PROVIDER_NAMES)('%s', (name) => {
  const provider = providerByName(name)!

  test('classifies anything without throwing, and never asks to wait less than nothing', () => {
    fc.assert(
      fc.property(status, body, headers, nowMs, (code, given, sent, now) => {
        const failures = [provider.classify(answer(code, given, sent), now), provider.classifyChunk(given, now)]
        for (const failure of failures) {
          const hintMs = failure?.retryAfterMs ?? 0
          expect(Number.isSafeInteger(hintMs) && hintMs >= 0).toBe(true)
        }
        // What is no success is a failure.
        if (code >= 300) expect(failures[0]).toBeDefined()
      }),
    )
  })

  test('never shortens a hint, neither of the headers nor of the prose', () => {
    const message = fc.nat({ max: 90_000 }).map((seconds) => `Please try again in ${seconds}s`)
    const after = fc.record({ 'retry-after': fc.nat({ max: 90_000 }).map(String) })
    fc.assert(
      fc.property(error, message, after, nowMs, (fields, words, sent, now) => {
        const failure = provider.classify(answer(429, { error: { ...fields, message: words } }, sent), now)
        expect(failure?.retryAfterMs).toBeGreaterThanOrEqual(parseRetryAfterMs(sent, now)!)
        const hearsProse = !['glm', 'glm-intl', 'glm-coding', 'deepseek', 'anthropic'].includes(name)
        if (!hearsProse || failure?.class === 'BAD' || Object.hasOwn(fields, 'error')) return
        expect(failure?.retryAfterMs).toBeGreaterThanOrEqual(parseProseRetryMs(words)!)
      }),
    )
  })

  test('counts nothing that is no count', () => {
    fc.assert(
      fc.property(body, (given) => {
        for (const counted of [provider.usage(given), provider.streamUsage(given)]) {
          for (const count of Object.values(counted ?? {})) expect(Number.isFinite(count) && count >= 0).toBe(true)
        }
      }),
    )
  })
})
