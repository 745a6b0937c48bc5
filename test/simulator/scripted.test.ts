import { afterEach, expect, test } from 'vitest'
import { type ScriptedAnswer, type Simulator, startSimulator } from '../../src/testing/index.js'

let simulator: Simulator | undefined
afterEach(() => simulator?.close())

type Profile = 'openai' | 'glm' | 'anthropic'
const CALL = { name: 'price_of', arguments: { item: '苹果' } }

async function ask(profile: Profile, answer: string | ScriptedAnswer | undefined, body: object = {}) {
  const bodies: unknown[] = []
  simulator = await startSimulator({
    profile,
    answer: (asked) => {
      bodies.push(asked)
      return answer
    },
  })
  const url = `${simulator.baseURL}${profile === 'anthropic' ? '/messages' : '/chat/completions'}`
  const headers = { authorization: 'Bearer k', 'x-api-key': 'k', 'anthropic-version': '2023-06-01' }
  const asked = { model: 'm', max_tokens: 50, messages: [{ role: 'user', content: 'hi' }], ...body }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(asked) })
  expect(bodies).toEqual([asked])
  return response.text()
}

interface Chunk {
  readonly choices: { readonly delta: { readonly content?: string; readonly tool_calls?: object[] } }[]
}
const eventsOf = (text: string) => [...text.matchAll(/^data: ?(\{.*)$/gm)].map(([, json]) => JSON.parse(json!) as Chunk)

test.each(['openai', 'glm'] as const)('%s says what it is told, with as many tokens as that has', async (profile) => {
  const answer = JSON.parse(await ask(profile, '苹果 is good')) as Record<string, never>
  expect(answer).toMatchObject({
    choices: [{ message: { content: '苹果 is good' }, finish_reason: 'stop' }],
    usage: { completion_tokens: 4 },
  })
})

test('a text longer than max_tokens is cut there', async () => {
  const answer = JSON.parse(await ask('openai', 'one two three', { max_tokens: 2 })) as Record<string, never>
  const choices = [{ message: { content: 'one two ' }, finish_reason: 'length' }]
  expect(answer).toMatchObject({ choices, usage: { completion_tokens: 2 } })
})

test('a scripted text streams to its end', async () => {
  const events = eventsOf(await ask('glm', '很长的文字'.repeat(20), { stream: true, max_tokens: 200 }))
  const text = events.map(({ choices: [choice] }) => choice!.delta.content)
  expect(text.join('')).toBe('很长的文字'.repeat(20))
  expect(text.length).toBeGreaterThan(4)
})

test('calls of tools, whole and as a stream', async () => {
  const whole = JSON.parse(await ask('openai', { toolCalls: [CALL] })) as Record<string, never>
  const call = { type: 'function', function: { name: 'price_of', arguments: '{"item":"苹果"}' } }
  expect(whole).toMatchObject({
    choices: [{ message: { content: null, tool_calls: [call] }, finish_reason: 'tool_calls' }],
  })
  await simulator?.close()
  const events = eventsOf(await ask('openai', { toolCalls: [CALL, CALL] }, { stream: true }))
  const deltas = events.flatMap(({ choices: [choice] }) => {
    return choice?.delta.tool_calls ?? []
  })
  expect(deltas).toMatchObject([
    { index: 0, id: expect.any(String), function: { name: 'price_of', arguments: '' } },
    { index: 0, function: { arguments: '{"item":"苹果"}' } },
    { index: 1, id: expect.any(String) },
    { index: 1 },
  ])
})

test('Anthropic has blocks for them', async () => {
  const whole = JSON.parse(await ask('anthropic', { content: 'let me see', toolCalls: [CALL] })) as object
  const block = { type: 'tool_use', name: 'price_of', input: CALL.arguments }
  expect(whole).toMatchObject({ content: [{ type: 'text', text: 'let me see' }, block], stop_reason: 'tool_use' })
  await simulator?.close()
  const events = eventsOf(await ask('anthropic', { toolCalls: [CALL] }, { stream: true }))
  expect(events).toContainEqual(
    expect.objectContaining({ delta: { type: 'input_json_delta', partial_json: '{"item":"苹果"}' }, index: 1 }),
  )
})

test('undefined is so many words, as ever', async () => {
  expect(await ask('openai', undefined, { max_tokens: 2 })).toContain('"content":"word word"')
})

test('a script that throws fails its request, with its message, and the next is answered', async () => {
  let calls = 0
  simulator = await startSimulator({
    profile: 'openai',
    answer: () => {
      if (++calls === 1) throw new Error('no such line')
      return 'well'
    },
  })
  const post = () =>
    fetch(`${simulator!.baseURL}/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer k' },
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hi' }] }),
    })
  const failed = await post()
  expect([failed.status, await failed.json()]).toEqual([500, { error: { message: 'answer: no such line' } }])
  expect(await (await post()).json()).toMatchObject({ choices: [{ message: { content: 'well' } }] })
  expect(simulator.log).toMatchObject([{ status: 500, code: '500' }, { status: 200 }])
})
