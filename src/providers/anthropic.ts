import { classifierOf, type Reading } from './classifier.js'
import { tokensByChars } from './estimate.js'
import { limitObservations } from './limit-headers.js'
import type { Profile, Usage } from './provider.js'
import * as wire from './wire.js'

const verdict: Reading['verdict'] = ({ type, message }, status, response) => {
  // Said in the details alone, under the type of a rate limit.
  if (errorCodeOf(response.body) === 'enforced_spend_limit_reached') return { class: 'QUOTA' }
  // After a 200 there is only the type.
  if (type === 'rate_limit_error' || status === 429) {
    if (/concurren/i.test(message)) return { class: 'CONC' }
    return { class: /\btokens?\b/i.test(message) ? 'RLT' : 'RLR' }
  }
  if (/prompt is too long|exceed(?:s|ed)? (?:the )?context (?:limit|window)/i.test(message)) return { class: 'CTX' }
  if (/credit balance is too low/i.test(message)) return { class: 'BAL' }
  return undefined
}

function errorCodeOf(rawBody: unknown): unknown {
  const body = wire.bodyOf(rawBody)
  const error = wire.recordOf(body?.error)
  const inner = wire.recordOf(error?.error) ?? error
  return wire.recordOf(inner?.details ?? body?.details)?.error_code
}

/**
 * The prompt's count comes with message_start; message_delta has the answer's as of now, and not always the prompt's. Until
 * it comes, at the end, what was written is estimated: it counts although the stream should break off.
 */
function streamUsage(chunk: unknown, before?: Usage): Usage | undefined {
  const event = wire.recordOf(chunk)
  if (event?.type === 'message_start') return usageOf(wire.recordOf(event.message)?.usage)
  if (event?.type === 'content_block_delta' && before) return written(before, wire.recordOf(event.delta))
  if (event?.type !== 'message_delta') return undefined
  const usage = wire.recordOf(event.usage)
  const completionTokens = wire.countOf(usage?.output_tokens)
  const promptTokens = Math.max(before?.promptTokens ?? 0, usageOf(usage)?.promptTokens ?? 0)
  // Half a count would make a refund of the other half.
  if (completionTokens === undefined || (!before && usageOf(usage) === undefined)) return undefined
  return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens }
}

function written(before: Usage, delta: Readonly<Record<string, unknown>> | undefined): Usage {
  const text = wire.textOf(delta?.text) || wire.textOf(delta?.partial_json) || wire.textOf(delta?.thinking)
  const completionTokens = before.completionTokens + tokensByChars(text)
  return { ...before, completionTokens, totalTokens: before.promptTokens + completionTokens }
}

/** What was written to the cache or read from it is part of the prompt, and counted apart. */
function usageOf(value: unknown): Usage | undefined {
  const usage = wire.recordOf(value)
  const inputTokens = wire.countOf(usage?.input_tokens)
  if (!usage || inputTokens === undefined) return undefined
  const cachedTokens =
    (wire.countOf(usage.cache_creation_input_tokens) ?? 0) + (wire.countOf(usage.cache_read_input_tokens) ?? 0)
  const promptTokens = inputTokens + cachedTokens
  const completionTokens = wire.countOf(usage.output_tokens) ?? 0
  return { promptTokens, completionTokens, totalTokens: promptTokens + completionTokens }
}

/** The Messages API: its own shapes on the way there and back, which callers and answers keep. */
export const anthropic: Profile = {
  name: 'anthropic',
  baseURL: 'https://api.anthropic.com/v1',
  chatPath: '/messages',
  limitsConcurrency: false,
  // A bucket takes an estimate of the prompt and is corrected; an answer counts as it is written, `max_tokens` never does.
  refundsEstimate: true,
  countsCompletion: 'as-produced',
  streamUsageOnRequest: false,
  authHeaders: (apiKey) => ({ 'x-api-key': apiKey, 'anthropic-version': '2023-06-01' }),
  ...classifierOf('anthropic', { verdict }),
  usage: (body) => usageOf(wire.bodyOf(body)?.usage),
  streamUsage,
  endsStream: wire.endsMessage,
  limitObservations,
}
