import type { FailureClass } from './provider.js'
import { openaiLike } from './openai-like.js'
import type { WireError } from './wire.js'

/** One type for four limits: `… reached organization max RPM: 20, please try again after 1 seconds` names which. */
function classOf({ type, message }: WireError): FailureClass | undefined {
  if (type === 'exceeded_current_quota_error') return 'BAL'
  if (type === 'engine_overloaded_error') return 'OVL'
  if (type === 'content_filter') return 'FILTER'
  if (type !== 'rate_limit_reached_error') return undefined
  if (/\bconcurrency\b/i.test(message)) return 'CONC'
  if (/\bTPD\b/i.test(message)) return 'QUOTA'
  return /\bTPM\b/i.test(message) ? 'RLT' : 'RLR'
}

/** Counts input and `max_tokens` up front. */
export const moonshot = openaiLike({
  name: 'moonshot',
  baseURL: 'https://api.moonshot.ai/v1',
  streamUsageOnRequest: false,
  limitsConcurrency: true,
  verdict: (error) => {
    const failureClass = classOf(error)
    return failureClass && { class: failureClass }
  },
})
