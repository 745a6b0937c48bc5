import { classifierOf, type Reading } from './classifier.js'
import type { Profile } from './provider.js'
import * as wire from './wire.js'

/** DeepSeek's codes say little (`invalid_request_error` under a 402 too): its messages do, then the status. */
const verdict: Reading['verdict'] = ({ message }, status) => {
  if (/content exists risk/i.test(message)) return { class: 'FILTER' }
  if (/maximum context length/i.test(message)) return { class: 'CTX' }
  if (/insufficient balance/i.test(message)) return { class: 'BAL' }
  // It limits requests in flight per account, and nothing else.
  return status === 429 ? { class: 'CONC' } : undefined
}

export const deepseek: Profile = {
  name: 'deepseek',
  baseURL: 'https://api.deepseek.com',
  chatPath: wire.CHAT_PATH,
  limitsConcurrency: true,
  refundsEstimate: true,
  countsCompletion: 'up-front',
  streamUsageOnRequest: false,
  authHeaders: wire.bearer,
  ...classifierOf('deepseek', { verdict, finishes: { insufficient_system_resource: 'SRV' } }),
  usage: wire.usageOf,
  streamUsage: wire.usageOf,
  endsStream: wire.endsStream,
}
