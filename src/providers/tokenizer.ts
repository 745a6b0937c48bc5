// gpt-tokenizer, where it is installed: OpenAI's own encodings, loaded when a pool asks for them (about 0.1 s and 70 MB each).
import { createRequire } from 'node:module'
import { type CountText, tokensByChars } from './estimate.js'

const LOADERS = {
  o200k_base: () => import('gpt-tokenizer/encoding/o200k_base'),
  cl100k_base: () => import('gpt-tokenizer/encoding/cl100k_base'),
}
type Encoding = keyof typeof LOADERS

/** Models before GPT-4o; every later one, and those of others, are nearest to o200k_base. */
const CL100K = /^(?:ft:)?(?:gpt-4(?![\w.]*o|\.)|gpt-3\.5|gpt-35|text-embedding-)/
/** The names of special tokens in a text are text. */
const OPTIONS = { disallowedSpecial: new Set<string>() }
/** The encoder's time is quadratic in the length of a word, and in Chinese whole paragraphs are one: it gets pieces. */
const PIECE_CHARS = 256
const LEAST_PIECE_CHARS = 128
/** What is longer goes on as it began: nobody may block a process by a long prompt. */
const MAX_COUNTED_CHARS = 32_768

export function encodingOf(model: string): Encoding {
  return CL100K.test(model) ? 'cl100k_base' : 'o200k_base'
}

/** The encodings that are loaded, or on their way. */
export class Tokenizers {
  readonly #counters = new Map<Encoding, CountText | undefined>()

  /** Whether the package can be found. */
  static get installed(): boolean {
    try {
      createRequire(import.meta.url).resolve('gpt-tokenizer/package.json')
      return true
    } catch {
      return false
    }
  }

  /** Counts for a model; undefined until its encoding is loaded, which the first call begins. */
  counterOf(model: string): CountText | undefined {
    const encoding = encodingOf(model)
    if (!this.#counters.has(encoding)) void this.load(model)
    return this.#counters.get(encoding)
  }

  /** Resolves when a model's encoding is loaded, or can't be: then characters go on being counted. */
  async load(model: string): Promise<void> {
    const encoding = encodingOf(model)
    if (this.#counters.has(encoding)) return
    this.#counters.set(encoding, undefined)
    try {
      const { countTokens } = await LOADERS[encoding]()
      this.#counters.set(
        encoding,
        countingPieces((text) => countTokens(text, OPTIONS)),
      )
    } catch (error) {
      process.emitWarning(`gpt-tokenizer can't be loaded, characters are counted: ${String(error)}`)
    }
  }
}

/** Counts a text of any length in a time that grows with it, and no further than a bound. */
export function countingPieces(count: CountText): CountText {
  return (text) => {
    const end = Math.min(text.length, MAX_COUNTED_CHARS)
    let tokens = 0
    for (let from = 0; from < end; ) {
      const to = cutOf(text, from, end)
      tokens += count(text.slice(from, to))
      from = to
    }
    if (end === text.length) return tokens
    const counted = tokensByChars(text.slice(0, end))
    return tokens + Math.ceil((tokensByChars(text.slice(end)) * tokens) / Math.max(1, counted))
  }
}

/** Where the next piece ends: where words do, if they do at all. */
function cutOf(text: string, from: number, end: number): number {
  const most = from + PIECE_CHARS
  if (most >= end) return end
  for (let at = most; at > from + LEAST_PIECE_CHARS; at--) {
    // A space belongs to the word after it.
    if (text.charCodeAt(at) === 0x20 || isWidePunctuation(text.charCodeAt(at - 1))) return at
  }
  const splitsPair = text.charCodeAt(most) >= 0xdc00 && text.charCodeAt(most) <= 0xdfff
  return splitsPair ? most - 1 : most
}

function isWidePunctuation(unit: number): boolean {
  return (unit >= 0x3000 && unit <= 0x303f) || (unit >= 0xff00 && unit <= 0xff0f) || unit === 0xff1a || unit === 0xff1b
}
