import type { FailureClass, Provider, ProviderFailure, ProviderResponse } from './provider.js'
import * as wire from './wire.js'

const NAME = 'deepseek'

function classify(response: ProviderResponse, nowMs: number = Date.now()): ProviderFailure | undefined {
  const error = wire.wireErrorOf(response.body)
  if (error || !wire.isSuccess(response)) {
    const verdict = { class: classOf(wire.effectiveStatus(response, error), error?.message ?? '') }
    return wire.failureFrom(NAME, response, error, verdict, nowMs)
  }
  const reason = 'insufficient_system_resource'
  if (!wire.finishedBy(response.body, reason)) return undefined
  const finish = { code: reason, type: '', message: `the answer ended with finish_reason ${reason}` }
  return wire.failureFrom(NAME, response, finish, { class: 'SRV' }, nowMs)
}

/** DeepSeek's codes say little (`invalid_request_error` under a 402 too): its messages do, then the status. */
function classOf(status: number, message: string): FailureClass {
  if (/content exists risk/i.test(message)) return 'FILTER'
  if (/maximum context length/i.test(message)) return 'CTX'
  if (/insufficient balance/i.test(message)) return 'BAL'
  // It limits requests in flight per account, and nothing else.
  return status === 429 ? 'CONC' : wire.classOfStatus(status)
}

export const deepseek: Provider = {
  name: NAME,
  baseURL: 'https://api.deepseek.com',
  chatPath: wire.CHAT_PATH,
  limitsConcurrency: true,
  refundsEstimate: true,
  authHeaders: wire.bearer,
  classify,
  usage: wire.usageOf,
}
