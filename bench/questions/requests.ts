import PQueue from 'p-queue'
import { createActor } from 'xstate'
import { requestMachine } from '../../machines/request-machine.js'
import { functionGate, noop, WIDE_OPEN } from '../harness/gate.js'
import { keepOutstanding } from '../harness/load.js'
import type { Bench, Case, Metrics, Question } from '../harness/question.js'

const OUTSTANDING = 1_000
const WARM_UP_REQUESTS = 20_000

interface Job {
  readonly seconds: number
  readonly pools?: number
  readonly tenants?: number
  readonly listen?: boolean
}

/** Keeps so many outstanding: first until warm, then for as long as is measured. */
async function steady(seconds: number, once: (index: number) => Promise<unknown>): Promise<Metrics> {
  const load = keepOutstanding(OUTSTANDING, once)
  while (load.done < WARM_UP_REQUESTS) await new Promise((resolve) => setTimeout(resolve, 10))
  const before = { done: load.done, cpu: process.cpuUsage(), atMs: performance.now() }
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
  const { user, system } = process.cpuUsage(before.cpu)
  const count = load.done - before.done
  const perSecond = (count * 1_000) / (performance.now() - before.atMs)
  await load.stop()
  return { cpuUs: (user + system) / count, perSecond }
}

async function wholePath({ seconds, pools = 1, tenants = 1, listen = false }: Job): Promise<Metrics> {
  const names = Array.from({ length: pools }, (_, index) => `p${index}`)
  const gate = await functionGate(names, WIDE_OPEN)
  let transitions = 0
  if (listen) gate.on('transition', () => transitions++)
  const inputs = Array.from({ length: Math.max(pools, tenants) }, (_, index) => ({
    pool: names[index % pools]!,
    tenant: `t${index % tenants}`,
    estimatedTokens: 100,
  }))
  const measured = await steady(seconds, (index) => gate.run(inputs[index % inputs.length]!, noop))
  await gate.close()
  return measured
}

/** What the machine alone costs: a root actor through the three events of a smooth request, its call left to itself. */
async function bareMachine({ seconds }: Job): Promise<Metrics> {
  const nothing = () => {}
  const machine = requestMachine.provide({
    actions: { requestToken: nothing, withdrawToken: nothing, startCall: nothing, abortCall: nothing },
  })
  return steady(seconds, async (index) => {
    const input = { requestId: `${index}`, pool: 'p', tenant: 't', maxAttempts: 6 }
    const actor = createActor(machine, { input })
    const outcome = new Promise((resolve) => actor.subscribe({ complete: () => resolve(undefined) }))
    actor.start()
    await undefined
    actor.send({ type: 'ADMITTED' })
    await undefined
    actor.send({ type: 'TOKEN_GRANTED' })
    await noop()
    actor.send({ type: 'CALL_COMPLETED' })
    await outcome
  })
}

/** No actor, no retry, no fleet, no tenants: a queue that counts starts per interval, exactly. */
async function pQueueStrict({ seconds }: Job): Promise<Metrics> {
  const queue = new PQueue({ concurrency: 256, intervalCap: 100_000_000, interval: 60_000, strict: true })
  return steady(seconds, () => queue.add(noop))
}

const headgate = (name: string, job: Omit<Job, 'seconds'> = {}): Case => ({
  name: `headgate${name}`,
  side: 'headgate',
  run: (bench: Bench) => bench.child('wholePath', { ...job, seconds: bench.seconds }),
})
const POOLS = [10, 100]
const TENANTS = [10, 1_000]

export const requests: Question = {
  name: 'requests',
  what: 'A request’s whole path, spawn to done: memory store, no-op call, 1,000 outstanding, one process',
  metrics: { cpuUs: 'CPU of the process, µs a request', perSecond: 'requests per second' },
  tasks: { wholePath, bareMachine, pQueueStrict },
  cases: [
    headgate(''),
    headgate(', a listener on transitions', { listen: true }),
    ...POOLS.map((pools) => headgate(`, ${pools} pools`, { pools })),
    ...TENANTS.map((tenants) => headgate(`, ${tenants} tenants`, { tenants })),
    {
      name: 'a bare XState root',
      side: 'limit',
      run: (bench) => bench.child('bareMachine', { seconds: bench.seconds }),
    },
    { name: 'p-queue strict', side: 'peer', run: (bench) => bench.child('pQueueStrict', { seconds: bench.seconds }) },
  ],
  goals: [
    { what: 'CPU ≤ 100 µs a request', value: (look) => look('headgate', 'cpuUs'), atMost: 100 },
    { what: '≥ 10,000 requests/s', value: (look) => look('headgate', 'perSecond'), atLeast: 10_000 },
  ],
}
