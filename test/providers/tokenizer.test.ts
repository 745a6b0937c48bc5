import { readFileSync } from 'node:fs'
import { encode } from 'gpt-tokenizer/encoding/o200k_base'
import { describe, expect, test } from 'vitest'
import { tokensByChars } from '../../src/providers/estimate.js'
import { countingPieces, encodingOf, Tokenizers } from '../../src/providers/tokenizer.js'

describe('the encoding of a model', () => {
  test.each([
    ['gpt-4o-mini', 'o200k_base'],
    ['gpt-4.1', 'o200k_base'],
    ['gpt-5-mini', 'o200k_base'],
    ['o3', 'o200k_base'],
    ['glm-4-plus', 'o200k_base'],
    ['ft:gpt-4o-mini:team::id', 'o200k_base'],
    ['chatgpt-4o-latest', 'o200k_base'],
    ['gpt-4', 'cl100k_base'],
    ['gpt-4-turbo', 'cl100k_base'],
    ['gpt-4-0613', 'cl100k_base'],
    ['gpt-3.5-turbo', 'cl100k_base'],
    ['gpt-35-turbo', 'cl100k_base'],
    ['ft:gpt-3.5-turbo:team::id', 'cl100k_base'],
    ['text-embedding-3-small', 'cl100k_base'],
  ])('%s: %s', (model, encoding) => {
    expect(encodingOf(model)).toBe(encoding)
  })
})

describe('gpt-tokenizer', () => {
  test('counts by characters until it is loaded, then as the model does', async () => {
    expect(Tokenizers.installed).toBe(true)
    const tokenizers = new Tokenizers()
    expect(tokenizers.counterOf('gpt-4o')).toBeUndefined()
    await expect.poll(() => tokenizers.counterOf('gpt-4o')).toBeDefined()
    const count = tokenizers.counterOf('gpt-4o')!
    expect(count('')).toBe(0)
    expect(count('hello world')).toBe(2)
    // The name of a special token in a prompt is no error.
    expect(count('<|endoftext|>')).toBeGreaterThan(1)
    for (const path of ['README.md', 'src/gate.ts']) {
      const text = readFileSync(path, 'utf8').slice(0, 30_000)
      const exact = encode(text).length
      expect(Math.abs(count(text) - exact) / exact).toBeLessThan(0.01)
    }
  })
})

describe('counting in pieces', () => {
  test('is the sum of pieces that are short, whatever the text, and no surrogate pair is torn', () => {
    const seen: string[] = []
    const count = countingPieces((text) => seen.push(text) && text.length)
    for (const text of ['a'.repeat(5_000), '😀'.repeat(2_000), '中文'.repeat(900), 'two words '.repeat(300)]) {
      seen.length = 0
      expect(count(text)).toBe(text.length)
      expect(seen.join('')).toBe(text)
      for (const piece of seen) {
        expect(piece.length).toBeLessThanOrEqual(256)
        expect(() => encodeURIComponent(piece)).not.toThrow() // as it does for half a pair
      }
    }
  })

  test('cuts where words begin, so that it counts as the whole', () => {
    const pieces: string[] = []
    countingPieces((text) => pieces.push(text))('word and word '.repeat(200))
    for (const piece of pieces.slice(1)) expect(piece.startsWith(' ')).toBe(true)
  })

  test('goes on as it began where a text is very long', () => {
    let counted = 0
    const count = countingPieces((text) => {
      counted += text.length
      return tokensByChars(text) * 2
    })
    const text = 'word '.repeat(100_000)
    expect(count(text)).toBeGreaterThan(190_000)
    expect(count(text)).toBeLessThan(210_000)
    expect(counted).toBeLessThan(70_000)
  })
})
