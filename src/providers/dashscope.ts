import type { FailureClass } from './provider.js'
import { openaiLike } from './openai-like.js'
import type { WireError } from './wire.js'

/** Codes of the compatible path and of the native one, which reach it too. */
const CLASS_OF_CODE: ReadonlyMap<string, FailureClass> = new Map<string, FailureClass>([
  ['limit_requests', 'RLR'],
  ['limit_burst_rate', 'RLR'], // it grew too fast
  ['Throttling', 'RLR'],
  ['Throttling.RateQuota', 'RLR'],
  ['Throttling.BurstRate', 'RLR'],
  ['insufficient_quota', 'RLT'], // not the bill, as it is at OpenAI: tokens per minute
  ['Throttling.AllocationQuota', 'RLT'],
  ['Throttling.Concurrency', 'CONC'],
  ['Arrearage', 'BAL'],
  ['AllocationQuota.FreeTierOnly', 'BAL'],
  ['data_inspection_failed', 'FILTER'],
  ['DataInspectionFailed', 'FILTER'],
])

function classOf({ code, type, message }: WireError): FailureClass | undefined {
  if (/range of input length should be/i.test(message)) return 'CTX'
  return CLASS_OF_CODE.get(code) ?? CLASS_OF_CODE.get(type)
}

/** Each limit of a minute is held per second too, at a 60th. */
export const dashscope = openaiLike({
  name: 'dashscope',
  baseURL: 'https://dashscope.aliyuncs.com/compatible-mode/v1',
  limitsConcurrency: true,
  verdict: (error) => {
    const failureClass = classOf(error)
    return failureClass && { class: failureClass }
  },
})
