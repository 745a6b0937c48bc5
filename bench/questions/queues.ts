import PQueue from 'p-queue'
import { Waiters } from '../../src/dispatch/waiters.js'
import { PRIORITY_WEIGHT } from '../../src/intake/input.js'
import { JobQueue } from '../../src/intake/job-queue.js'
import type { GroupSpec } from '../../src/limits/store.js'
import type { Entry, RequestSpec } from '../../src/request/entry.js'
import { Wait } from '../../src/request/wait.js'
import { seededRandom } from '../../src/testing/simulator/random.js'
import type { Bench, Case, Metrics, Question } from '../harness/question.js'
import { median } from '../harness/stats.js'

const DEPTHS = [1_000, 10_000, 100_000, 300_000]
const ENQUEUED = 100_000
/** Measured at a time, no more than the shortest line has; the median over so many turns is told. */
const STEPS = 1_000
const TURNS = 840
/** As the gate has them: one key for all requests of a tenant and class. */
const CLASSES = Object.entries(PRIORITY_WEIGHT).map(([name, weight]) => ({ flowKey: `p|default|${name}`, weight }))

interface Job {
  readonly count: number
}

const LIMIT = { id: 'l', dimension: 'requests', limit: 50, windowMs: 60_000, holdMs: 200, adaptive: false } as const
const SPEC: GroupSpec = { namespace: 'b', group: 'g', pools: ['p'], limits: [LIMIT], draws: [[0]] }

/** The request of a wait: here one for all of a class, and of it only what waiters read. */
const REQUESTS = CLASSES.map(({ flowKey, weight }) => {
  const pool = { plan: { index: 0 }, config: { callTimeoutMs: 60_000 } }
  const spec = {
    pool,
    flowKey,
    tenant: 'default',
    tenantWeight: 1,
    classWeight: weight,
    draws: [0],
    estimatedTokens: 100,
  }
  return spec as unknown as RequestSpec
})
const ENTRY = {} as Entry
const ENDS = { granted: () => {}, refused: () => {} }

function waitOf(random: () => number): Wait {
  return new Wait(ENTRY, REQUESTS[Math.floor(random() * REQUESTS.length)]!, ENDS, 0, 0)
}

function join(waiters: Waiters, waits: readonly Wait[]): void {
  for (const wait of waits) waiters.add(wait)
}

function leave(waiters: Waiters, flowKeys: readonly string[]): void {
  for (const flowKey of flowKeys) {
    const flow = waiters.flow(flowKey)!
    waiters.remove(waiters.covered(flow, Number.POSITIVE_INFINITY)!, true)
  }
}

/** At a constant depth: one joins at the end of its class, the first of a class leaves as granted. */
async function steps({ count }: Job): Promise<Metrics> {
  const random = seededRandom(1)
  const waiters = new Waiters(SPEC)
  for (let i = 0; i < count; i++) waiters.add(waitOf(random))
  // Marking what was just made is the cost of making it, not of a step.
  globalThis.gc?.()
  const enqueueNs: number[] = []
  const dequeueNs: number[] = []
  for (let turn = 0; turn < TURNS; turn++) {
    const waits = Array.from({ length: STEPS }, () => waitOf(random))
    const flowKeys = waits.map(({ flowKey }) => flowKey)
    const startMs = performance.now()
    join(waiters, waits)
    const addedMs = performance.now()
    leave(waiters, flowKeys)
    const endMs = performance.now()
    enqueueNs.push(((addedMs - startMs) * 1e6) / STEPS)
    dequeueNs.push(((endMs - addedMs) * 1e6) / STEPS)
  }
  if (waiters.size !== count) throw new Error(`expected ${count} waiters, got ${waiters.size}`)
  return { enqueueNs: median(enqueueNs), dequeueNs: median(dequeueNs) }
}

/** From empty, in a process that has done nothing else. */
async function enqueueWaiters({ count }: Job): Promise<Metrics> {
  const random = seededRandom(2)
  const waits = Array.from({ length: count }, () => waitOf(random))
  const waiters = new Waiters(SPEC)
  return timed(() => join(waiters, waits))
}

async function enqueueJobs({ count }: Job): Promise<Metrics> {
  const random = seededRandom(2)
  const jobs = Array.from({ length: count }, () => {
    const { flowKey, weight } = CLASSES[Math.floor(random() * CLASSES.length)]!
    return { id: '', flowKey, weight, owner: { waiting: undefined } }
  })
  const queue = new JobQueue()
  const job = async () => {}
  return timed(() => {
    for (const options of jobs) queue.enqueue(job, options)
  })
}

async function enqueuePQueue({ count }: Job): Promise<Metrics> {
  const random = seededRandom(2)
  const priorities = Array.from({ length: count }, () => Math.floor(random() * count))
  const queue = new PQueue({ concurrency: 1, autoStart: false })
  const job = async () => {}
  return timed(() => {
    for (const priority of priorities) void queue.add(job, { priority })
  })
}

function timed(run: () => void): Metrics {
  const startMs = performance.now()
  run()
  return { totalMs: performance.now() - startMs }
}

const text = (count: number) => count.toLocaleString('en-US')
const enqueue = (name: string, side: Case['side'], task: string): Case => ({
  name: `${text(ENQUEUED)} random priorities, ${name}`,
  side,
  run: (bench: Bench) => bench.child(task, { count: ENQUEUED }),
})

export const queues: Question = {
  name: 'queues',
  what: 'Queues as they grow: the dispatcher’s waiters at a constant depth, and 100,000 random-priority arrivals at once',
  metrics: {
    enqueueNs: 'ns to join the line',
    dequeueNs: 'ns to leave it, first of a class',
    totalMs: 'ms for all',
  },
  tasks: { steps, enqueueWaiters, enqueueJobs, enqueuePQueue },
  cases: [
    ...DEPTHS.map((count) => ({
      name: `${text(count)} waiting`,
      side: 'headgate' as const,
      run: (bench: Bench) => bench.child<Metrics>('steps', { count }),
    })),
    enqueue('the dispatcher’s waiters', 'headgate', 'enqueueWaiters'),
    enqueue('the intake’s queue', 'headgate', 'enqueueJobs'),
    enqueue('p-queue', 'peer', 'enqueuePQueue'),
  ],
  goals: [
    {
      what: 'enqueue at 300k ≤ 1.5 × that at 1k',
      value: (look) => look('300,000 waiting', 'enqueueNs') / look('1,000 waiting', 'enqueueNs'),
      atMost: 1.5,
    },
    {
      what: 'first-in-class dequeue at 300k ≤ 1.5 × that at 1k',
      value: (look) => look('300,000 waiting', 'dequeueNs') / look('1,000 waiting', 'dequeueNs'),
      atMost: 1.5,
    },
    {
      what: '100k random-priority enqueues ≤ 100 ms',
      value: (look) => look('100,000 random priorities, the dispatcher’s waiters', 'totalMs'),
      atMost: 100,
    },
    {
      what: 'and in the intake’s queue ≤ 100 ms',
      value: (look) => look('100,000 random priorities, the intake’s queue', 'totalMs'),
      atMost: 100,
    },
  ],
}
