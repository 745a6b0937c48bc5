import type { Question } from '../harness/question.js'
import { eventLoop } from './event-loop.js'
import { grants } from './grants.js'
import { limit } from './limit.js'
import { memory } from './memory.js'
import { queues } from './queues.js'
import { requests } from './requests.js'
import { slots } from './slots.js'
import { throughput } from './throughput.js'

export const QUESTIONS: readonly Question[] = [limit, slots, throughput, grants, requests, memory, queues, eventLoop]
