import { describe, expect, test } from 'vitest'
import { events, expectNoHints, post, start } from './harness.js'

const USAGE = {
  prompt_tokens: 2,
  completion_tokens: 20,
  total_tokens: 22,
  prompt_tokens_details: { cached_tokens: 0 },
}
const INCLUDE_USAGE = { stream_options: { include_usage: true } }

/** The chunks of a stream of 20 tokens, [DONE] and heartbeats aside. */
async function chunksOf(profile: 'glm' | 'deepseek' | 'openai', more: object = {}) {
  const payloads = await events(await start(profile), { max_tokens: 20, ...more })
  expect(payloads.indexOf('[DONE]')).toBe(payloads.length - 1)
  return payloads.filter((payload) => payload !== '' && payload !== '[DONE]').map((payload) => JSON.parse(payload))
}

describe.each(['glm', 'deepseek', 'openai'] as const)('%s', (profile) => {
  test('role first, then the content, then the reason it ended', async () => {
    const chunks = await chunksOf(profile)
    const [first, ...rest] = chunks
    expect(first.choices).toEqual([{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }])
    expect(rest.at(-1).choices).toEqual([{ index: 0, delta: {}, finish_reason: 'stop' }])
    const content = rest.slice(0, -1).map(({ choices }) => choices[0].delta.content)
    expect(content.length).toBeGreaterThan(1)
    expect(content.join('').trim().split(' ')).toHaveLength(20)
    const heads = new Set(chunks.map(({ id, object, model, created }) => JSON.stringify([id, object, model, created])))
    expect(heads.size).toBe(1)
    expect(first).toMatchObject({ object: 'chat.completion.chunk', model: 'glm-4.7' })
  })

  test('an error before the stream is an ordinary body', async () => {
    const simulator = await start(profile)
    simulator.failNext('500')
    const response = await post(simulator, { body: { stream: true } })
    expect(response.status).toBe(500)
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expectNoHints(response.headers)
    expect(await response.json()).toMatchObject({ error: { message: expect.any(String) } })
  })
})

describe.each(['glm', 'deepseek'] as const)('usage at %s', (profile) => {
  test.each([{}, INCLUDE_USAGE, { stream_options: { include_usage: false } }])(
    'is on the chunk that ends it, whatever was asked: %j',
    async (more) => {
      const chunks = await chunksOf(profile, more)
      expect(chunks.filter((chunk) => chunk.usage)).toHaveLength(1)
      expect(chunks.at(-1)).toMatchObject({ choices: [{ finish_reason: 'stop' }], usage: USAGE })
    },
  )
})

describe('usage at openai', () => {
  test('is in a chunk of its own, without choices, after the one that ends it', async () => {
    const chunks = await chunksOf('openai', INCLUDE_USAGE)
    expect(chunks.filter((chunk) => chunk.usage)).toHaveLength(1)
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: USAGE })
    expect(chunks.at(-2).choices[0].finish_reason).toBe('stop')
  })

  test.each([{}, { stream_options: {} }, { stream_options: { include_usage: false } }])(
    'is not there unless asked for: %j',
    async (more) => {
      const chunks = await chunksOf('openai', more)
      expect(chunks.filter((chunk) => 'usage' in chunk)).toEqual([])
      expect(chunks.at(-1).choices[0].finish_reason).toBe('stop')
    },
  )
})

test.each([
  ['glm', 1],
  ['deepseek', 0],
  ['openai', 0],
] as const)('%s sends %d empty data: lines', async (profile, heartbeats) => {
  const payloads = await events(await start(profile))
  expect(payloads.filter((payload) => payload === '')).toHaveLength(heartbeats)
})
