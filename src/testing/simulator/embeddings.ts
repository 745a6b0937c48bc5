import { countTokens, type ModelRequest } from './completion.js'
import type { Api } from './profile.js'
import { seededRandom } from './random.js'

const DEFAULT_DIMENSIONS = 1536
const MAX_DIMENSIONS = 8192
const MAX_INPUTS = 2048

type Input = string | readonly number[]

/** OpenAI's embeddings: one text or many, each as a string or as token numbers. */
export const EMBEDDINGS: Api = {
  read(body) {
    const { model, input, dimensions = DEFAULT_DIMENSIONS, encoding_format = 'float' } = Object(body)
    const inputs = inputsOf(input)
    if (typeof model !== 'string' || !inputs) return undefined
    if (!Number.isSafeInteger(dimensions) || dimensions < 1 || dimensions > MAX_DIMENSIONS) return undefined
    if (encoding_format !== 'float' && encoding_format !== 'base64') return undefined
    return {
      model,
      body: Object(body),
      stream: false,
      includeUsage: false,
      maxTokens: 0,
      maxTokensGiven: false,
      promptTokens: inputs.reduce((sum, one) => sum + (typeof one === 'string' ? countTokens(one) : one.length), 0),
      completionTokens: 0,
    }
  },

  body({ model, body, promptTokens }: ModelRequest) {
    const { dimensions = DEFAULT_DIMENSIONS, encoding_format } = body as {
      dimensions?: number
      encoding_format?: string
    }
    const data = inputsOf(body.input)!.map((input, index) => {
      const vector = vectorOf(input, dimensions)
      // Numbers go out as the floats that they are, with no more digits than a float has.
      const embedding = encoding_format === 'base64' ? base64Of(vector) : Array.from(vector)
      return { object: 'embedding', index, embedding }
    })
    return { object: 'list', data, model, usage: { prompt_tokens: promptTokens, total_tokens: promptTokens } }
  },
}

/** Undefined where there is nothing to embed, or something that is neither text nor tokens. */
function inputsOf(input: unknown): readonly Input[] | undefined {
  const isTokens = Array.isArray(input) && input.some((part) => typeof part === 'number')
  const inputs: readonly unknown[] = Array.isArray(input) && !isTokens ? input : [input]
  const are = inputs.every((one) => (typeof one === 'string' ? one !== '' : isTokenList(one)))
  return are && inputs.length > 0 && inputs.length <= MAX_INPUTS ? (inputs as readonly Input[]) : undefined
}

function isTokenList(input: unknown): boolean {
  return Array.isArray(input) && input.length > 0 && input.every(Number.isSafeInteger)
}

/** A unit vector: the same for the same input, any for another. */
function vectorOf(input: Input, dimensions: number): Float32Array {
  let hash = 0
  for (const char of String(input)) hash = (Math.imul(hash, 31) + char.codePointAt(0)!) | 0
  const random = seededRandom(hash)
  const vector = Float32Array.from({ length: dimensions }, () => random() * 2 - 1)
  const norm = Math.hypot(...vector)
  return vector.map((value) => value / norm)
}

/** Little-endian floats, whatever the machine. */
function base64Of(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4)
  return bytes.toString('base64')
}
