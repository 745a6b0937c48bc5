import { describe, expect, test } from 'vitest'
import { tokensCounted, tokensToReserve } from '../../src/providers/charge.js'
import { chatUrlOf } from '../../src/providers/chat-url.js'
import { PROVIDER_NAMES, providerByName } from '../../src/providers/index.js'
import type { CompletionCount, Profile } from '../../src/providers/provider.js'
import { answer } from './answers.js'

const profile = (name: string): Profile => {
  const provider = providerByName(name)
  if (!provider) throw new Error(`no profile ${name}`)
  return provider
}

/** From provider-limits.md, section 1: where, and whether it limits concurrency, refunds, and how answers count. */
const TRAITS: readonly (readonly [string, string | undefined, boolean, boolean, CompletionCount])[] = [
  ['glm', 'https://open.bigmodel.cn/api/paas/v4/chat/completions', true, true, 'up-front'],
  ['glm-intl', 'https://api.z.ai/api/paas/v4/chat/completions', true, true, 'up-front'],
  ['glm-coding', 'https://open.bigmodel.cn/api/coding/paas/v4/chat/completions', true, true, 'up-front'],
  ['deepseek', 'https://api.deepseek.com/chat/completions', true, true, 'up-front'],
  ['openai', 'https://api.openai.com/v1/chat/completions', false, false, 'up-front'],
  ['azure', undefined, false, false, 'up-front'],
  ['anthropic', 'https://api.anthropic.com/v1/messages', false, true, 'as-produced'],
  ['gemini', 'https://generativelanguage.googleapis.com/v1beta/openai/chat/completions', false, true, 'never'],
  ['mistral', 'https://api.mistral.ai/v1/chat/completions', false, false, 'up-front'],
  ['groq', 'https://api.groq.com/openai/v1/chat/completions', false, false, 'up-front'],
  ['moonshot', 'https://api.moonshot.ai/v1/chat/completions', true, false, 'up-front'],
  ['dashscope', 'https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions', true, false, 'up-front'],
  ['openrouter', 'https://openrouter.ai/api/v1/chat/completions', false, false, 'up-front'],
  ['vllm', undefined, false, true, 'up-front'],
  ['ollama', 'http://127.0.0.1:11434/v1/chat/completions', false, true, 'up-front'],
  ['openai-compatible', undefined, false, false, 'up-front'],
]

describe('profiles', () => {
  test('are these, each under its own name', () => {
    expect(PROVIDER_NAMES).toEqual(TRAITS.map(([name]) => name))
    for (const name of PROVIDER_NAMES) expect(profile(name).name).toBe(name)
    expect(providerByName('constructor')).toBeUndefined()
  })

  test.each(TRAITS)('%s', (name, url, limitsConcurrency, refundsEstimate, countsCompletion) => {
    const { baseURL, chatPath, ...traits } = profile(name)
    expect(baseURL === undefined ? undefined : chatUrlOf(baseURL, chatPath)).toBe(url)
    expect(traits).toMatchObject({ limitsConcurrency, refundsEstimate, countsCompletion })
  })

  test.each(PROVIDER_NAMES)('%s sends the key in one header', (name) => {
    const headers = profile(name).authHeaders('k')
    const { 'anthropic-version': version, ...credentials } = headers
    expect(version).toBe(name === 'anthropic' ? '2023-06-01' : undefined)
    const expected = { azure: { 'api-key': 'k' }, anthropic: { 'x-api-key': 'k' } }[name]
    expect(credentials).toEqual(expected ?? { authorization: 'Bearer k' })
  })

  test('a stream has to be asked for its usage where OpenAI is the model, and is not where the field is unknown', () => {
    const asked = PROVIDER_NAMES.filter((name) => profile(name).streamUsageOnRequest)
    expect(asked).toEqual(['openai', 'azure', 'dashscope', 'openrouter', 'vllm', 'ollama', 'openai-compatible'])
  })

  test('limits are read from the headers of those that send some', () => {
    const observing = PROVIDER_NAMES.filter((name) => profile(name).limitObservations)
    expect(observing).toEqual(['openai', 'azure', 'anthropic', 'mistral', 'groq', 'openai-compatible'])
  })

  test.each(PROVIDER_NAMES)('%s: no chunk that is no object is an error', (name) => {
    for (const chunk of ['', '[DONE]', undefined, null, 7]) {
      expect(profile(name).classifyChunk(chunk)).toBeUndefined()
      expect(profile(name).streamUsage(chunk)).toBeUndefined()
    }
    expect(profile(name).classifyChunk({ choices: [{ index: 0, delta: { content: 'error' } }] })).toBeUndefined()
  })

  test.each(PROVIDER_NAMES)(
    '%s: status alone still says something, and hints in headers are never shortened',
    (name) => {
      const classes = [401, 402, 404, 429, 500, 503].map((status) => profile(name).classify(answer(status, ''))?.class)
      const limit = ['glm', 'glm-intl', 'glm-coding'].includes(name) ? 'RLR' : name === 'deepseek' ? 'CONC' : 'RLR'
      expect(classes).toEqual(['AUTH', 'BAL', 'BAD', limit, 'SRV', 'OVL'])
      const headers = { 'retry-after': '7200', 'retry-after-ms': '5' }
      expect(profile(name).classify(answer(429, '', headers))?.retryAfterMs).toBe(7_200_000)
    },
  )
})

describe('what a request counts for', () => {
  const estimate = { promptTokens: 100, completionTokens: 1_000, total: 1_100 }
  const usage = { promptTokens: 110, completionTokens: 40, totalTokens: 150 }

  test.each([
    ['up-front', 1_100, 150],
    ['as-produced', 100, 150],
    ['never', 100, 110],
  ] as const)('completions %s', (countsCompletion, reserved, counted) => {
    expect(tokensToReserve({ countsCompletion }, estimate)).toBe(reserved)
    expect(tokensCounted({ countsCompletion }, usage)).toBe(counted)
  })

  test('completions up front, where a provider does not say', () => {
    expect([tokensToReserve({}, estimate), tokensCounted({}, usage)]).toEqual([1_100, 150])
  })
})

test.each([
  ['https://h/v1', 'https://h/v1/chat'],
  ['https://h/v1//', 'https://h/v1/chat'],
  ['https://h/d?api-version=1', 'https://h/d/chat?api-version=1'],
  ['https://h/d/?api-version=1', 'https://h/d/chat?api-version=1'],
])('the path of chats below %s', (baseURL, url) => {
  expect(chatUrlOf(baseURL, '/chat')).toBe(url)
})
