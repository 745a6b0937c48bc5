import { openaiLike } from './openai-like.js'
import type { FailureClass, Usage } from './provider.js'
import * as wire from './wire.js'

/** One type for four limits: `… reached organization max RPM: 20, please try again after 1 seconds` names which. */
function classOf({ type, message }: wire.WireError): FailureClass | undefined {
  if (type === 'exceeded_current_quota_error') return 'BAL'
  if (type === 'engine_overloaded_error') return 'OVL'
  if (type === 'content_filter') return 'FILTER'
  if (/exceeded model token limit/i.test(message)) return 'CTX'
  if (type !== 'rate_limit_reached_error') return undefined
  if (/\bconcurrency\b/i.test(message)) return 'CONC'
  if (/\bTPD\b/i.test(message)) return 'QUOTA'
  return /\bTPM\b/i.test(message) ? 'RLT' : 'RLR'
}

/** In a stream it stands in the choice that ends it, rather than beside it. */
function streamUsage(chunk: unknown): Usage | undefined {
  const choices = wire.recordOf(chunk)?.choices
  const inChoice = Array.isArray(choices) ? choices.map((choice) => wire.usageOf(choice)).find(Boolean) : undefined
  return wire.usageOf(chunk) ?? inChoice
}

/** Counts input and `max_tokens` up front. */
export const moonshot = openaiLike({
  name: 'moonshot',
  baseURL: 'https://api.moonshot.ai/v1',
  streamUsageOnRequest: false,
  limitsConcurrency: true,
  streamUsage,
  verdict: (error) => {
    const failureClass = classOf(error)
    return failureClass && { class: failureClass }
  },
})
