import { describe, expect, test } from 'vitest'
import { countTokens, readChatRequest } from '../../src/testing/simulator/completion.js'
import { answerOf, BODY, chat, start } from './harness.js'

const NO_KEY = { authorization: 'Bearer ' }

describe.each([
  ['glm', [401, '1001'], [400, '1213'], [400, '1214'], [400, '1222']],
  ['deepseek', [401, '401'], [422, '422'], [422, '422'], [404, '404']],
  ['openai', [401, 'invalid_api_key'], [400, 'invalid_body'], [400, 'invalid_body'], [404, 'unknown_url']],
] as const)('%s', (profile, auth, badJson, badBody, notFound) => {
  test('asks for a key, before it looks at the body', async () => {
    const simulator = await start(profile, { requests: [{ limit: 1, windowMs: 3_600_000 }] })
    for (const body of [BODY, '{']) {
      const answer = await chat(simulator, { body, headers: NO_KEY })
      expect(answer.status).toBe(auth[0])
      expect(answer.body.error.message).toMatch(/\S/)
    }
    expect(simulator.log).toMatchObject([
      { status: auth[0], code: auth[1], tokens: 0 },
      { status: auth[0], code: auth[1], tokens: 0 },
    ])
    // Neither counted.
    expect((await chat(simulator)).status).toBe(200)
  })

  test.each(['{', '', 'undefined', '{"model":"m"'])('refuses what is no JSON: %j', async (body) => {
    const simulator = await start(profile)
    expect((await chat(simulator, { body })).status).toBe(badJson[0])
    expect(simulator.log).toMatchObject([{ status: badJson[0], code: badJson[1] }])
  })

  test.each([
    '{}',
    '[]',
    'null',
    '"text"',
    '{"model":"m"}',
    '{"messages":[]}',
    '{"model":7,"messages":[]}',
    '{"model":"m","messages":{}}',
    '{"model":"m","messages":[],"max_tokens":0}',
    '{"model":"m","messages":[],"max_tokens":1.5}',
    '{"model":"m","messages":[],"max_tokens":"9"}',
    '{"model":"m","messages":[],"max_tokens":1000000000}',
  ])('refuses what is no chat request: %s', async (body) => {
    const simulator = await start(profile)
    expect((await chat(simulator, { body })).status).toBe(badBody[0])
    expect(simulator.log).toMatchObject([{ status: badBody[0], code: badBody[1] }])
  })

  test('knows its own paths only, and logs nothing else', async () => {
    const simulator = await start(profile)
    const elsewhere = await answerOf(await fetch(`${simulator.baseURL}/files`, { method: 'POST' }))
    expect(elsewhere.status).toBe(notFound[0])
    expect(elsewhere.body.error).toMatchObject({ message: expect.stringMatching(/\S/) })
    const asGet = await answerOf(await fetch(`${simulator.baseURL}/chat/completions`))
    expect(asGet.status).toBe(notFound[0])
    expect(asGet.body).toEqual(elsewhere.body)
    expect(simulator.log).toEqual([])
    const models = await answerOf(await fetch(`${simulator.baseURL}/models`))
    expect(models).toMatchObject({ status: 200, body: { object: 'list', data: [] } })
  })

  test.each([{}, { max_completion_tokens: 3, max_tokens: 9 }])(
    'answers %j with exactly so many tokens',
    async (body) => {
      const simulator = await start(profile)
      const tokens = 'max_completion_tokens' in body ? 3 : 4
      const headers = { 'x-headgate-request-id': 'r-7' }
      const { status, body: answer } = await chat(simulator, { body, headers })
      expect(status).toBe(200)
      expect(answer).toMatchObject({
        object: 'chat.completion',
        model: BODY.model,
        choices: [{ index: 0, message: { role: 'assistant' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 2, completion_tokens: tokens, total_tokens: 2 + tokens },
      })
      expect(answer.choices[0].message.content.split(' ')).toHaveLength(tokens)
      expect('request_id' in answer).toBe(profile === 'glm')
      expect(simulator.log).toMatchObject([{ id: 'r-7', status: 200, code: null, promptTokens: 2, tokens: 2 + tokens }])
    },
  )
})

test.each([
  ['glm', '/v1/chat/completions', 200],
  ['glm', '/api/paas/v4/chat/completions?x=1', 200],
  ['glm', '/api/coding/paas/v4/chat/completions', 200],
  ['deepseek', '/v1/chat/completions', 200],
  ['deepseek', '/chat/completions', 200],
  ['deepseek', '/api/paas/v4/chat/completions', 404],
  ['openai', '/v1/chat/completions', 200],
  ['openai', '/chat/completions', 404],
] as const)('%s at %s: %d', async (profile, path, status) => {
  const simulator = await start(profile)
  const init = { method: 'POST', headers: { authorization: 'Bearer k' }, body: JSON.stringify(BODY) }
  expect((await answerOf(await fetch(simulator.url + path, init))).status).toBe(status)
})

test.each([
  ['', 0],
  ['   \n', 0],
  ['hello', 2],
  ['word word', 2],
  ['你好世界', 4],
  ['你好 world', 4],
  [[{ type: 'text', text: '你好' }, { type: 'image_url' }, { type: 'text', text: 'word' }], 3],
  [undefined, 0],
  [7, 0],
])('countTokens(%j) is %d', (content, tokens) => {
  expect(countTokens(content)).toBe(tokens)
})

test('a request without max_tokens is counted as 16', () => {
  const { max_tokens, ...rest } = BODY
  expect(max_tokens).toBe(4)
  expect(readChatRequest(rest)).toMatchObject({ maxTokens: 16, promptTokens: 2, stream: false, includeUsage: false })
})
