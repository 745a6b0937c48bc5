// An estimate of LLM tokens that errs upwards: a reservation that is too small breaks the provider's limit. Pure.
import { recordOf } from './wire.js'

/** Kinds of characters, and how many of each one token takes at most: a piece of a word, three digits, two signs. */
const [OTHER, LOWER, UPPER, DIGIT, SIGN] = [0, 1, 2, 3, 4]
const CHARS_IN = [4, 4, 4, 3, 2]
const KINDS = Uint8Array.from({ length: 0x80 }, (_, unit) => {
  if (unit >= 0x61 && unit <= 0x7a) return LOWER
  if (unit >= 0x41 && unit <= 0x5a) return UPPER
  return unit >= 0x30 && unit <= 0x39 ? DIGIT : SIGN
})
/** A number or a boolean: the longest takes about so many. */
const SCALAR_TOKENS = 4
/** Role and separators of one message in the providers' chat templates. */
const MESSAGE_TOKENS = 4
/** An image, a sound or a file, by whatever size: what OpenAI charges for a 2048 × 4096 image in high detail. */
const NON_TEXT_PART_TOKENS = 1_105
const DEFAULT_COMPLETION_TOKENS = 1_024
/** More than any model writes. A client may ask for any number, and sums of estimates are kept: they have to stay numbers. */
const MAX_COMPLETION_TOKENS = 1_000_000_000
/** Deeper than any tool schema; it bounds the recursion over what a caller passes. */
const MAX_DEPTH = 32

/** Called as a method, V8 looks it up anew for each character once it has seen a few kinds of strings. */
const codeAt = String.prototype.charCodeAt

/** Counts the LLM tokens of a text. */
export type CountText = (text: string) => number

export interface TokenEstimate {
  readonly promptTokens: number
  readonly completionTokens: number
  readonly total: number
  /** Whether the request itself says how long its answer may be. */
  readonly capped: boolean
}

/** What a chat request will take: its prompt, and all that the answer may have. */
export function estimateTokens(input: {
  readonly messages: unknown
  /** Tool definitions: they are part of the prompt. */
  readonly tools?: unknown
  readonly maxTokens?: number | undefined
  /** Assumed for the answer when `maxTokens` is not set. Default 1024. */
  readonly defaultCompletionTokens?: number
  /** Each as long as that. Default 1. */
  readonly answers?: number
  /** Default: by characters. */
  readonly count?: CountText | undefined
}): TokenEstimate {
  const { maxTokens, defaultCompletionTokens = DEFAULT_COMPLETION_TOKENS, answers = 1, count = tokensByChars } = input
  const promptTokens = estimatePromptTokens(input.messages, count) + tokensOfValue(input.tools, count, 0)
  const capped = maxTokens !== undefined && Number.isFinite(maxTokens) && maxTokens >= 0
  const each = capped ? Math.ceil(maxTokens) : defaultCompletionTokens
  const completionTokens = Math.min(each * answers, MAX_COMPLETION_TOKENS)
  return { promptTokens, completionTokens, total: promptTokens + completionTokens, capped }
}

/** Takes OpenAI's `messages`; a bare string or one message will do too, and what is neither counts as nothing. */
export function estimatePromptTokens(messages: unknown, count: CountText = tokensByChars): number {
  if (typeof messages === 'string') return count(messages)
  if (!Array.isArray(messages)) return tokensOfMessage(messages, count)
  let tokens = 0
  for (const message of messages) tokens += tokensOfMessage(message, count)
  return tokens
}

function tokensOfMessage(value: unknown, count: CountText): number {
  if (typeof value === 'string') return MESSAGE_TOKENS + count(value)
  const message = recordOf(value)
  if (!message) return 0
  let tokens = MESSAGE_TOKENS + tokensOfContent(message.content, count)
  tokens += tokensOfValue(message.name, count, 0) + tokensOfValue(message.reasoning_content, count, 0)
  return tokens + tokensOfValue(message.tool_calls, count, 0) + tokensOfValue(message.function_call, count, 0)
}

function tokensOfContent(content: unknown, count: CountText): number {
  if (typeof content === 'string') return count(content)
  if (!Array.isArray(content)) return content == null ? 0 : tokensOfPart(content, count)
  let tokens = 0
  for (const part of content) tokens += tokensOfPart(part, count)
  return tokens
}

function tokensOfPart(value: unknown, count: CountText): number {
  if (typeof value === 'string') return count(value)
  const part = recordOf(value)
  if (!part) return tokensOfValue(value, count, 0)
  const text = part.text ?? part.refusal
  return typeof text === 'string' ? count(text) : NON_TEXT_PART_TOKENS
}

/** Tool calls and schemas reach the model as some JSON: every name and value counts, and 1 for the signs around it. */
function tokensOfValue(value: unknown, count: CountText, depth: number): number {
  if (value == null || depth > MAX_DEPTH) return 0
  if (typeof value === 'string') return count(value)
  if (typeof value !== 'object') return SCALAR_TOKENS
  let tokens = 1
  if (Array.isArray(value)) {
    for (const item of value) tokens += 1 + tokensOfValue(item, count, depth + 1)
    return tokens
  }
  for (const key in value) {
    tokens += 1 + count(key) + tokensOfValue((value as Record<string, unknown>)[key], count, depth + 1)
  }
  return tokens
}

/**
 * One pass over UTF-16 units: a CJK character counts 1, one outside the basic plane 2, other text 1 for every piece. A piece
 * ends after so many characters, at a space, and where letters, digits and signs meet, or a capital follows a small letter.
 */
export function tokensByChars(text: string): number {
  let tokens = 0
  let room = 0 // characters that the current piece still takes
  let before = OTHER
  for (let index = 0; index < text.length; index++) {
    const unit = codeAt.call(text, index)
    if (isSpace(unit)) {
      room = 0
    } else if (unit >= 0x1100 && isDense(unit)) {
      room = 0
      tokens++
    } else {
      const kind = unit < 0x80 ? KINDS[unit]! : OTHER
      const joins = kind === before || (kind === LOWER && before === UPPER)
      if (room === 0 || !joins) {
        tokens++
        room = CHARS_IN[kind]!
      }
      room--
      before = kind
    }
  }
  return tokens
}

/** The same set as `\s`. A unit taken for text where it is a space would join two words, and undercount. */
function isSpace(unit: number): boolean {
  if (unit < 0xa0) return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d)
  if (unit === 0xa0 || unit === 0x1680) return true
  if (unit < 0x2000 || unit > 0x3000) return unit === 0xfeff
  return unit <= 0x200a || unit === 0x2028 || unit === 0x2029 || unit === 0x202f || unit === 0x205f || unit === 0x3000
}

/** Han, Kana, Hangul, their punctuation and wide forms; and surrogates, hence rare Han and emoji. */
function isDense(unit: number): boolean {
  return (
    (unit >= 0x2e80 && unit <= 0x9fff) ||
    (unit >= 0xac00 && unit <= 0xdfff) || // Hangul, then all surrogates
    (unit >= 0xf900 && unit <= 0xfaff) ||
    (unit >= 0xff00 && unit <= 0xffef) ||
    unit <= 0x11ff ||
    (unit >= 0xa960 && unit <= 0xa97f)
  )
}
