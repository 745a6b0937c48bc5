import { describe, expect, test } from 'vitest'
import * as apis from '../../src/providers/apis.js'
import { glm, openai, type Provider } from '../../src/providers/index.js'

const messagesProvider: Provider = { ...openai, name: 'other', chatPath: '/messages' }
const HEAD = { status: 200, headers: {} }

describe('the call that a path means', () => {
  test.each([
    ['/v1/chat/completions', { api: 'chat', wire: 'openai' }],
    ['/api/paas/v4/chat/completions', { api: 'chat', wire: 'openai' }],
    ['/v1/messages', { api: 'chat', wire: 'anthropic' }],
    ['/v1/embeddings', { api: 'embeddings', wire: 'openai' }],
    ['/v1/responses', { api: 'responses', wire: 'openai' }],
    ['/v1/responses/r1', undefined],
    ['/v1/messages/count_tokens', undefined],
    ['/v1/files', undefined],
  ])('%s', (path, expected) => {
    expect(apis.apiAt(path)).toEqual(expected)
  })
})

test('where a call goes follows from the provider’s wire', () => {
  const paths = (provider: Provider) => apis.API_NAMES.map((api) => apis.pathOf(api, provider))
  expect(paths(openai)).toEqual(['/chat/completions', '/embeddings', '/responses'])
  expect(paths(messagesProvider)).toEqual(['/messages', undefined, undefined])
  expect([apis.wireOf(glm), apis.wireOf(messagesProvider)]).toEqual(['openai', 'anthropic'])
})

describe('what a call will take', () => {
  const total = (api: apis.ApiName, body: Record<string, unknown>) => apis.estimateOf(api, body).total
  const message = { role: 'user', content: '你好你好' }

  test('a chat: its prompt, tools and system prompt, and all that the answer may have', () => {
    const bare = total('chat', { messages: [message], max_tokens: 10 })
    expect(bare).toBeGreaterThanOrEqual(14)
    expect(total('chat', { messages: [message], max_tokens: 10, system: '你好你好' })).toBeGreaterThanOrEqual(bare + 4)
    expect(total('chat', { messages: [message], max_tokens: 10, tools: [{ name: 'now' }] })).toBeGreaterThan(bare)
    expect(total('chat', { messages: [message], max_completion_tokens: 5, max_tokens: 10 })).toBe(bare - 5)
  })

  test('a chat that asks for several answers: as much for each', () => {
    const bare = total('chat', { messages: [message], max_tokens: 10 })
    expect(total('chat', { messages: [message], max_tokens: 10, n: 3 })).toBe(bare + 20)
    const unlimited = total('chat', { messages: [message] })
    expect(total('chat', { messages: [message], n: 3 })).toBe(unlimited + 2 * 1_024)
    for (const n of [1, 0, -3, 2.5, '3', null, 1e300]) {
      expect(total('chat', { messages: [message], max_tokens: 10, n })).toBe(bare)
    }
  })

  test('embeddings: their texts, or as many as there are token numbers, and no answer', () => {
    const one = total('embeddings', { input: '你好你好' })
    expect(one).toBeGreaterThanOrEqual(4)
    expect(one).toBeLessThan(20)
    expect(total('embeddings', { input: ['你好', '你好'] })).toBeGreaterThanOrEqual(4)
    expect(total('embeddings', { input: [1, 2, 3] })).toBeGreaterThanOrEqual(3)
    expect(total('embeddings', { input: [[1, 2], [3]] })).toBeGreaterThanOrEqual(3)
  })

  test('responses: messages, tool results and instructions, and the answer', () => {
    const text = total('responses', { input: '你好你好', max_output_tokens: 10 })
    expect(text).toBeGreaterThanOrEqual(14)
    const items = [message, { type: 'function_call_output', call_id: 'c', output: '你好你好' }]
    expect(total('responses', { input: items, max_output_tokens: 10 })).toBeGreaterThanOrEqual(18)
    expect(total('responses', { input: '你好你好', instructions: '你好', max_output_tokens: 10 })).toBe(text + 2)
  })
})

describe('a stream', () => {
  test('of OpenAI tells its usage when asked, of GLM always', () => {
    const body = { model: 'm', stream_options: { other: 1 } }
    expect(apis.askForUsage('chat', openai, body)).toEqual({
      body: { model: 'm', stream_options: { other: 1, include_usage: true } },
      hidden: true,
    })
    const asked = { stream_options: { include_usage: true } }
    expect(apis.askForUsage('chat', openai, asked)).toEqual({ body: asked, hidden: false })
    for (const [api, provider] of [
      ['chat', glm],
      ['responses', openai],
    ] as const) {
      expect(apis.askForUsage(api, provider, body)).toEqual({ body, hidden: false })
    }
  })

  test('its chunk of usage alone is known by having no choice', () => {
    expect(apis.isUsageOnly({ choices: [], usage: { prompt_tokens: 1 } })).toBe(true)
    expect(apis.isUsageOnly({ choices: [], usage: null })).toBe(false)
    expect(apis.isUsageOnly({ choices: [{ index: 0 }], usage: { prompt_tokens: 1 } })).toBe(false)
    expect(apis.isUsageOnly('[DONE]')).toBe(false)
  })

  test('of responses: usage comes with the last event, errors in two shapes', () => {
    const usage = { input_tokens: 3, output_tokens: 4 }
    const expected = { promptTokens: 3, completionTokens: 4, totalTokens: 7 }
    expect(apis.chunkUsage('responses', openai, { type: 'response.completed', response: { usage } })).toEqual(expected)
    expect(apis.usageOf('responses', openai, { usage })).toEqual(expected)
    expect(apis.chunkUsage('responses', openai, { type: 'response.created', response: {} })).toBeUndefined()
    const failure = (chunk: object) => apis.chunkFailure('responses', openai, HEAD, chunk)
    const error = { code: 'rate_limit_exceeded', message: 'slow down' }
    expect(failure({ type: 'error', ...error })).toMatchObject({ class: 'RLR' })
    expect(failure({ type: 'response.failed', response: { error } })).toMatchObject({ class: 'RLR' })
    expect(failure({ type: 'response.output_text.delta', delta: 'x' })).toBeUndefined()
  })

  test('a profile that knows more of streams is asked', () => {
    const knowing = {
      ...openai,
      streamUsageOnRequest: false,
      classifyChunk: () => ({
        class: 'OVL' as const,
        code: 'OVERLOADED' as const,
        retryable: true,
        mendable: true,
        message: 'x',
      }),
      streamUsage: (_: unknown, before?: object) => ({
        promptTokens: before ? 2 : 1,
        completionTokens: 0,
        totalTokens: 1,
      }),
    }
    const before = apis.chunkUsage('chat', knowing, {})
    expect(apis.chunkUsage('chat', knowing, {}, before)).toMatchObject({ promptTokens: 2 })
    expect(apis.chunkFailure('chat', knowing, HEAD, {})).toMatchObject({ class: 'OVL' })
    expect(apis.askForUsage('chat', knowing, {})).toEqual({ body: {}, hidden: false })
  })
})
