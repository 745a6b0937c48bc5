import { openaiLike } from './openai-like.js'
import type { Usage } from './provider.js'
import * as wire from './wire.js'

/** OpenAI's fields, or those of the native path, there with `done: true`. A prompt that was cached whole is left out. */
function usageOf(rawBody: unknown): Usage | undefined {
  const body = wire.bodyOf(rawBody)
  const completionTokens = wire.countOf(body?.eval_count)
  if (body?.done !== true || completionTokens === undefined) return wire.usageOf(rawBody)
  const promptTokens = wire.countOf(body.prompt_eval_count) ?? 0
  return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens }
}

/** One at a time, a queue of 512, then 503 `server busy`; it counts no tokens against anybody. */
export const ollama = openaiLike({
  name: 'ollama',
  baseURL: 'http://127.0.0.1:11434/v1',
  refundsEstimate: true,
  usage: usageOf,
  streamUsage: usageOf,
})
