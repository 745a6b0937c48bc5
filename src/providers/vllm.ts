import { openaiLike } from './openai-like.js'

/** One's own server: it queues without a bound unless told to answer 503, and counts no tokens against anybody. */
export const vllm = openaiLike({ name: 'vllm', baseURL: undefined, refundsEstimate: true })
