import { describe, expect, test } from 'vitest'
import { answerIn, keyOf, type Question, textOf } from '../../src/answers/answer.js'

const BODY = { model: 'm', messages: [{ role: 'user', content: 'hi' }], temperature: 0 }
const QUESTION: Question = {
  provider: 'glm',
  baseURL: 'https://h',
  api: 'chat',
  tenant: 'web',
  headers: undefined,
  body: BODY,
}
const key = (change: Partial<Question> = {}) => keyOf({ ...QUESTION, ...change })
const keyWith = (body: object) => key({ body: { ...BODY, ...body } })

describe('the key of a question', () => {
  test('is a hash, the same for the same question whatever the order of its fields', () => {
    expect(key()).toMatch(/^[\w-]{43}$/)
    const turned = { temperature: 0, messages: [{ content: 'hi', role: 'user' }], model: 'm' }
    expect(key({ body: turned })).toBe(key())
  })

  test.each<[string, Partial<Question>]>([
    ['the provider', { provider: 'glm-intl' }],
    ['where it is', { baseURL: 'https://g' }],
    ['the API', { api: 'responses' }],
    ['the tenant', { tenant: 'batch' }],
    ['no tenant', { tenant: undefined }],
    ['headers', { headers: { 'anthropic-beta': 'x' } }],
    ['the model', { body: { ...BODY, model: 'n' } }],
    ['a message', { body: { ...BODY, messages: [{ role: 'user', content: 'hi ' }] } }],
    ['a parameter', { body: { ...BODY, temperature: 0.1 } }],
    ['a field that nobody knows', { body: { ...BODY, user_id: '1' } }],
    ['a stream', { body: { ...BODY, stream: true } }],
    ['the order of messages', { body: { ...BODY, messages: [...BODY.messages, ...BODY.messages].reverse() } }],
  ])('depends on %s', (_, change) => expect(key(change)).not.toBe(key()))

  test('does not depend on who asks, nor on a stream that was not asked for', () => {
    for (const body of [{ user: 'u' }, { metadata: { a: 1 } }, { prompt_cache_key: 'k' }, { stream: false }]) {
      expect(keyWith(body)).toBe(key())
    }
  })

  test('there is none where the answer depends on what the provider remembers', () => {
    for (const body of [{ conversation: 'c' }, { previous_response_id: 'r' }, { background: true }]) {
      expect(key({ api: 'responses', body })).toBeUndefined()
    }
  })
})

describe('an answer as text', () => {
  test('comes back as it was', () => {
    const whole = { httpStatus: 202, value: { a: ['é', 1, null] }, events: undefined }
    expect(answerIn(textOf(whole)!)).toEqual(whole)
    const events = [
      { data: undefined, comment: 'still there', json: undefined },
      { data: '', json: undefined },
      { event: 'message', id: '7', data: '{"a":1}', json: { a: 1 } },
      { data: '[DONE]', json: undefined },
    ]
    expect(answerIn(textOf({ httpStatus: 200, value: undefined, events })!)).toEqual({
      httpStatus: 200,
      value: undefined,
      events,
    })
  })

  test('what can’t be written down, or read, is none', () => {
    expect(textOf({ httpStatus: 200, value: 1n, events: undefined })).toBeUndefined()
    for (const text of ['{', '{}', 'null', '"x"']) expect(() => answerIn(text)).toThrow()
  })
})
