import { limitObservations } from './limit-headers.js'
import { openaiLike } from './openai-like.js'

/** Counts max(`max_tokens`, estimate) up front and gives nothing back; failed requests count too. */
export const openai = openaiLike({ name: 'openai', baseURL: 'https://api.openai.com/v1', limitObservations })

/** Any server with OpenAI's wire shape: the pool says where. Behind a gateway there may be headers of any kind. */
export const openaiCompatible = openaiLike({ name: 'openai-compatible', baseURL: undefined, limitObservations })
