import { chatUrlOf } from './chat-url.js'
import type { Reading } from './classifier.js'
import { openaiLike } from './openai-like.js'
import type { ProviderResponse } from './provider.js'
import * as wire from './wire.js'

const verdict: Reading['verdict'] = ({ message }, status, response, nowMs) => {
  const metadata = metadataOf(response)
  if (status === 502) return { class: 'OVL' } // the model's own provider is down
  if (status === 403 && Array.isArray(metadata?.reasons)) return { class: 'FILTER' }
  if (status !== 429) return undefined
  const daily = /\bper[-_ ]day\b/i.test(message) // free models have a cap
  return { class: daily ? 'QUOTA' : 'RLR', retryAfterMs: msUntilReset(metadata, nowMs) }
}

/** `X-RateLimit-Reset`, epoch ms, among the headers that the error quotes. */
function msUntilReset(metadata: Readonly<Record<string, unknown>> | undefined, nowMs: number): number | undefined {
  const headers = wire.recordOf(metadata?.headers)
  const resetMs = Number(wire.textOf(headers?.['X-RateLimit-Reset']) || Number.NaN)
  return resetMs > nowMs && Number.isSafeInteger(resetMs) ? Math.ceil(resetMs - nowMs) : undefined
}

function metadataOf({ body }: ProviderResponse): Readonly<Record<string, unknown>> | undefined {
  return wire.recordOf((wire.recordOf(wire.bodyOf(body)?.error) ?? wire.recordOf(errorOfChoice(body)))?.metadata)
}

function errorOfChoice(rawBody: unknown): unknown {
  const choices = wire.bodyOf(rawBody)?.choices
  return Array.isArray(choices) ? choices.map((choice) => wire.recordOf(choice)?.error).find(Boolean) : undefined
}

/** Codes are HTTP's, and come under 200 too: in a body, in a choice or in a chunk of a stream. */
export const openrouter = openaiLike({
  name: 'openrouter',
  baseURL: 'https://openrouter.ai/api/v1',
  // Its models are for everybody to see.
  keyUrl: (baseURL) => chatUrlOf(baseURL, '/key'),
  verdict,
  errorIn: (response) => wire.errorOf(response) ?? wire.wireErrorOf({ error: errorOfChoice(response.body) }),
  finishes: { error: 'SRV' },
})
