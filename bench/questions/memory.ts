import { createActor } from 'xstate'
import { requestMachine } from '../../machines/request-machine.js'
import { functionGate, noop } from '../harness/gate.js'
import { heapUsed } from '../harness/heap.js'
import type { Bench, Case, Metrics, Question } from '../harness/question.js'

/** One an hour: the first goes, all others wait. */
const NEARLY_SHUT = { requests: { limit: 1, per: '1h' } } as const
const WAITING = [1_000, 10_000, 100_000, 300_000]
const AT_GATE = [1_000, 100_000, 999_000]
/** Beside what is weighed: what the first few bring with them, once. */
const FIRST = 100

interface Job {
  readonly count: number
}

async function weigh({ count }: Job, add: (index: number) => unknown): Promise<Metrics> {
  for (let i = 0; i < FIRST; i++) add(i)
  const before = await heapUsed()
  for (let i = 0; i < count; i++) {
    add(FIRST + i)
    // As a producer would: what is due meanwhile is not put off.
    if (i % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return { bytes: ((await heapUsed()) - before) / count }
}

/** All past the queue, as waiters of the dispatcher. Who spawned them has let go of everything but the outcome. */
async function waiting(job: Job): Promise<Metrics> {
  const gate = await functionGate(['p'], NEARLY_SHUT, { queue: { maxQueued: 10, maxActive: job.count + 2 * FIRST } })
  const measured = await weigh(job, () => void gate.run({ pool: 'p' }, noop))
  const { states } = gate.stats().pools.p!
  if (!(states['waiting-for-token']! >= job.count)) throw new Error(`not all wait: ${JSON.stringify(states)}`)
  return measured
}

/** All in front of the pool's bounded queue: there is no request yet. */
async function atGate(job: Job): Promise<Metrics> {
  const gate = await functionGate(['p'], NEARLY_SHUT, { queue: { maxQueued: 10, maxActive: 1 } })
  const measured = await weigh(job, () => void gate.run({ pool: 'p' }, noop))
  if (!(gate.stats().pools.p!.atGate >= job.count)) throw new Error('not all are at the gate')
  return measured
}

async function bareRoots(job: Job): Promise<Metrics> {
  const actors: unknown[] = []
  const machine = requestMachine.provide({ actions: { requestToken: () => {} } })
  const measured = await weigh(job, (index) => {
    const actor = createActor(machine, { input: { requestId: `${index}`, pool: 'p', tenant: 't', maxAttempts: 6 } })
    actor.subscribe({ next: noop, error: noop })
    actor.start()
    actor.send({ type: 'ADMITTED' })
    actors.push(actor)
  })
  if (actors.length < job.count) throw new Error('some are gone')
  return measured
}

const rows = (name: string, side: Case['side'], task: string, counts: readonly number[]): Case[] =>
  counts.map((count) => ({
    name: `${name}, ${count.toLocaleString('en-US')}`,
    side,
    run: (bench: Bench) => bench.child(task, { count }),
  }))

export const memory: Question = {
  name: 'memory',
  what: 'Heap of a request that waits for its grant, and of a producer that waits at the gate',
  metrics: { bytes: 'bytes of heap each, after a full collection' },
  tasks: { waiting, atGate, bareRoots },
  cases: [
    ...rows('waiting requests', 'headgate', 'waiting', WAITING),
    ...rows('bare XState roots', 'limit', 'bareRoots', WAITING),
    ...rows('producers at the gate', 'headgate', 'atGate', AT_GATE),
  ],
  goals: [
    {
      what: 'a waiting request ≤ 2 KB above a bare root',
      value: (look) => look('waiting requests, 300,000', 'bytes') - look('bare XState roots, 300,000', 'bytes'),
      atMost: 2_048,
    },
    {
      what: 'flat from 1k to 300k waiting requests (± 10 %)',
      value: (look) => look('waiting requests, 300,000', 'bytes') / look('waiting requests, 1,000', 'bytes'),
      atLeast: 0.9,
      atMost: 1.1,
    },
    {
      what: 'a producer at the gate ≤ 1 KB',
      value: (look) => look('producers at the gate, 999,000', 'bytes'),
      atMost: 1_024,
    },
    {
      what: 'flat from 1k to 1M producers (± 10 %)',
      value: (look) => look('producers at the gate, 999,000', 'bytes') / look('producers at the gate, 1,000', 'bytes'),
      atLeast: 0.9,
      atMost: 1.1,
    },
  ],
}
