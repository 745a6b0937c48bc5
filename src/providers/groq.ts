import { limitObservationsOfDay } from './limit-headers.js'
import { openaiLike } from './openai-like.js'
import * as wire from './wire.js'

/** Its overload has a status of its own, 498; a request that is too large is a 413. */
export const groq = openaiLike({
  name: 'groq',
  baseURL: 'https://api.groq.com/openai/v1',
  streamUsageOnRequest: false,
  verdict: ({ code }) => (code === 'capacity_exceeded' ? { class: 'OVL' } : undefined),
  // A stream that it stops early says why in `x_groq`.
  errorIn: (response) =>
    wire.errorOf(response) ?? wire.wireErrorOf({ error: wire.recordOf(wire.bodyOf(response.body)?.x_groq)?.error }),
  streamUsage: (chunk) => wire.usageOf(chunk) ?? wire.usageOf(wire.recordOf(chunk)?.x_groq),
  limitObservations: limitObservationsOfDay,
})
