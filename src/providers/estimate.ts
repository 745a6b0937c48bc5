// An estimate of LLM tokens that errs upwards: a reservation that is too small breaks the provider's limit. Pure.
import { recordOf } from './wire.js'

/** A piece of a word: alphabetic text has at least one token in every 4 characters without a space. */
const PIECE_CHARS = 4
/** Role and separators of one message in the providers' chat templates. */
const MESSAGE_TOKENS = 4
/** An image, a sound or a file, by whatever size: what OpenAI charges for a 2048 × 4096 image in high detail. */
const NON_TEXT_PART_TOKENS = 1_105
const DEFAULT_COMPLETION_TOKENS = 1_024
/** Deeper than any tool schema; it bounds the recursion over what a caller passes. */
const MAX_DEPTH = 32

export interface TokenEstimate {
  readonly promptTokens: number
  readonly completionTokens: number
  readonly total: number
}

/** What a chat request will take: its prompt, and all that the answer may have. */
export function estimateTokens(input: {
  readonly messages: unknown
  /** Tool definitions: they are part of the prompt. */
  readonly tools?: unknown
  readonly maxTokens?: number | undefined
  /** Assumed for the answer when `maxTokens` is not set. Default 1024. */
  readonly defaultCompletionTokens?: number
}): TokenEstimate {
  const { maxTokens, defaultCompletionTokens = DEFAULT_COMPLETION_TOKENS } = input
  const promptTokens = estimatePromptTokens(input.messages) + tokensOfValue(input.tools, 0)
  const known = maxTokens !== undefined && Number.isFinite(maxTokens) && maxTokens >= 0
  const completionTokens = known ? Math.ceil(maxTokens) : defaultCompletionTokens
  return { promptTokens, completionTokens, total: promptTokens + completionTokens }
}

/** Takes OpenAI's `messages`; a bare string or one message will do too, and what is neither counts as nothing. */
export function estimatePromptTokens(messages: unknown): number {
  if (typeof messages === 'string') return tokensOfText(messages)
  if (!Array.isArray(messages)) return tokensOfMessage(messages)
  let tokens = 0
  for (const message of messages) tokens += tokensOfMessage(message)
  return tokens
}

function tokensOfMessage(value: unknown): number {
  if (typeof value === 'string') return MESSAGE_TOKENS + tokensOfText(value)
  const message = recordOf(value)
  if (!message) return 0
  let tokens = MESSAGE_TOKENS + tokensOfContent(message.content)
  tokens += tokensOfValue(message.name, 0) + tokensOfValue(message.reasoning_content, 0)
  return tokens + tokensOfValue(message.tool_calls, 0) + tokensOfValue(message.function_call, 0)
}

function tokensOfContent(content: unknown): number {
  if (typeof content === 'string') return tokensOfText(content)
  if (!Array.isArray(content)) return content == null ? 0 : tokensOfPart(content)
  let tokens = 0
  for (const part of content) tokens += tokensOfPart(part)
  return tokens
}

function tokensOfPart(value: unknown): number {
  if (typeof value === 'string') return tokensOfText(value)
  const part = recordOf(value)
  if (!part) return tokensOfValue(value, 0)
  const text = part.text ?? part.refusal
  return typeof text === 'string' ? tokensOfText(text) : NON_TEXT_PART_TOKENS
}

/** Tool calls and schemas reach the model as some JSON: every name and value counts, and 1 for the signs around it. */
function tokensOfValue(value: unknown, depth: number): number {
  if (value == null || depth > MAX_DEPTH) return 0
  if (typeof value === 'string') return tokensOfText(value)
  if (typeof value !== 'object') return PIECE_CHARS // a number or boolean: the longest takes about 4
  let tokens = 1
  if (Array.isArray(value)) {
    for (const item of value) tokens += 1 + tokensOfValue(item, depth + 1)
    return tokens
  }
  for (const key in value) {
    tokens += 1 + tokensOfText(key) + tokensOfValue((value as Record<string, unknown>)[key], depth + 1)
  }
  return tokens
}

/** One pass over UTF-16 units: a CJK character counts 1, one outside the basic plane 2, other text 1 in every 4. */
function tokensOfText(text: string): number {
  let tokens = 0
  let pieceChars = 0 // characters in the current piece
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (isSpace(unit)) {
      pieceChars = 0
    } else if (unit >= 0x1100 && isDense(unit)) {
      pieceChars = 0
      tokens++
    } else {
      if (pieceChars === 0) tokens++
      pieceChars = pieceChars + 1 === PIECE_CHARS ? 0 : pieceChars + 1
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
