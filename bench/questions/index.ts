import type { Question } from '../harness/question.js'
import { eventLoop } from './event-loop.js'
import { gateway } from './gateway.js'
import { grants } from './grants.js'
import { lateStart } from './late-start.js'
import { limit } from './limit.js'
import { memory } from './memory.js'
import { queues } from './queues.js'
import { requests } from './requests.js'
import { slots } from './slots.js'
import { soak } from './soak.js'
import { throughput } from './throughput.js'
import { trace } from './trace.js'
import { weights } from './weights.js'

export const QUESTIONS: readonly Question[] = [
  limit,
  lateStart,
  weights,
  slots,
  trace,
  throughput,
  grants,
  gateway,
  requests,
  memory,
  queues,
  eventLoop,
  soak,
]
