import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { estimatePromptTokens, estimateTokens } from '../../src/providers/estimate.js'

/** What the simulator charges for a text. */
const simulated = (text: string) => (text.match(/\p{Script=Han}|[^\s\p{Script=Han}]{1,4}/gu) ?? []).length

const SPACES = [
  '\t',
  '\n',
  '\v',
  '\f',
  '\r',
  ' ',
  '\u00a0',
  '\u1680',
  '\u2003',
  '\u2028',
  '\u2029',
  '\u202f',
  '\u205f',
  '\u3000',
  '\ufeff',
]
const SIGNS = [
  'a',
  'é',
  'Ж',
  'ا',
  '中',
  '〇',
  '々',
  '㐀',
  '豈',
  '⼀',
  '𠀀',
  '𰀀',
  'あ',
  'カ',
  'ｶ',
  '한',
  'ᄀ',
  '，',
  'Ａ',
  '😀',
  '\ud800',
  '\udc00',
  '"',
  '0',
]
const mixed = fc
  .array(fc.oneof(fc.constantFrom(...SPACES), fc.constantFrom(...SIGNS)), { maxLength: 40 })
  .map((signs) => signs.join(''))
const anyText = fc.oneof(mixed, fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }))

describe('estimatePromptTokens', () => {
  test('is never below what the simulator counts', () => {
    fc.assert(
      fc.property(anyText, (text) => estimatePromptTokens(text) >= simulated(text)),
      { numRuns: 3_000 },
    )
  })

  test('is never below it for messages and text parts either', () => {
    const content = fc.oneof(anyText, fc.array(anyText.map((text) => ({ type: 'text', text }))))
    fc.assert(
      fc.property(fc.array(fc.record({ role: fc.constant('user'), content })), (messages) => {
        const texts = messages.flatMap(({ content }) =>
          typeof content === 'string' ? [content] : content.map((part) => part.text),
        )
        return estimatePromptTokens(messages) >= texts.reduce((sum, text) => sum + simulated(text), 0)
      }),
    )
  })

  test('counts every character of the basic plane as the simulator does, or more', () => {
    for (let unit = 0; unit <= 0xffff; unit++) {
      const text = `a${String.fromCharCode(unit)}b`
      if (estimatePromptTokens(text) < simulated(text)) expect.fail(`U+${unit.toString(16)}`)
    }
  })

  test('takes anything', () => {
    fc.assert(
      fc.property(fc.anything({ maxDepth: 4 }), (messages) => {
        const tokens = estimatePromptTokens(messages)
        return Number.isSafeInteger(tokens) && tokens >= 0
      }),
    )
  })

  test.each([
    ['', 0],
    ['word', 1],
    ['words', 2],
    ['two  words', 3],
    ['中文字符', 4],
    ['한국어', 3],
    ['ひらカナ', 4],
    ['GLM模型', 3],
    ['camelCase', 3],
    ['v1.25', 4],
    ['{"a":12345}', 6],
    ['😀', 2],
  ])('%j is %i', (text, tokens) => {
    expect(estimatePromptTokens(text)).toBe(tokens)
  })

  test('messages, parts, tools', () => {
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(100_000)}` } }
    const hello = { role: 'user', content: 'hello' }
    expect(estimatePromptTokens([hello])).toBe(6)
    expect(estimatePromptTokens(hello)).toBe(6)
    expect(estimatePromptTokens([{ role: 'user', content: [{ type: 'text', text: 'hello' }, image] }])).toBe(6 + 1_105)
    expect(estimatePromptTokens([{ role: 'assistant', content: null }])).toBe(4)
    const call = { id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city":"上海"}' } }
    expect(estimatePromptTokens([{ role: 'assistant', content: null, tool_calls: [call] }])).toBeGreaterThan(10)
  })

  test('a cycle ends', () => {
    const loop: unknown[] = []
    loop.push(loop)
    expect(estimatePromptTokens([{ role: 'assistant', tool_calls: loop }])).toBeGreaterThan(0)
  })
})

describe('estimateTokens', () => {
  test.each([
    [{ maxTokens: 50 }, 50, true],
    [{ maxTokens: 0 }, 0, true],
    [{ maxTokens: 1.7e308 }, 1_000_000_000, true],
    [{}, 1_024, false],
    [{ maxTokens: Number.NaN }, 1_024, false],
    [{ maxTokens: -1 }, 1_024, false],
    [{ defaultCompletionTokens: 256 }, 256, false],
  ])('%j takes %i for the answer, by its own word: %s', (input, completionTokens, capped) => {
    const estimate = estimateTokens({ messages: 'word', ...input })
    expect(estimate).toEqual({ promptTokens: 1, completionTokens, total: 1 + completionTokens, capped })
  })

  test('tools are part of the prompt', () => {
    const tools = [{ type: 'function', function: { name: 'weather', description: '查询天气', parameters: {} } }]
    expect(estimateTokens({ messages: [], tools }).promptTokens).toBeGreaterThan(10)
  })
})
