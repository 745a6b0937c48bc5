import { limitObservations } from './limit-headers.js'
import { openaiLike } from './openai-like.js'

export const mistral = openaiLike({
  name: 'mistral',
  baseURL: 'https://api.mistral.ai/v1',
  streamUsageOnRequest: false,
  // A 429 too, but about everybody's load, not one's own rate.
  verdict: ({ code, type }) =>
    code === '3505' || type === 'service_tier_capacity_exceeded' ? { class: 'OVL' } : undefined,
  limitObservations,
})
