import type { Question } from '../harness/question.js'
import { eventLoop } from './event-loop.js'
import { grants } from './grants.js'
import { memory } from './memory.js'
import { queues } from './queues.js'
import { requests } from './requests.js'

export const QUESTIONS: readonly Question[] = [grants, requests, memory, queues, eventLoop]
