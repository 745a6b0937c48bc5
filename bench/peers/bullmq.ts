import { type Arrival, connectionOf, type Join, load } from './peer.js'

interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => {
    add(name: string, data: Arrival): Promise<unknown>
    addBulk(jobs: object[]): Promise<unknown>
    setGlobalConcurrency(slots: number): Promise<unknown>
  }
  readonly Worker: new (
    name: string,
    run: (job: { readonly data: Arrival }) => Promise<void>,
    options: object,
  ) => { run(): Promise<void>; waitUntilReady(): Promise<unknown> }
}

const QUEUE = 'bench'
const BULK = 5_000

/** Workers of one queue. A backlog is filled in before: what adding a job costs is not measured. */
export const bullMq: Join = async (job, call) => {
  const { Queue, Worker } = load<BullMq>(job.home, 'bullmq')
  const connection = connectionOf(job)
  const queue = new Queue(QUEUE, { connection, defaultJobOptions: { removeOnComplete: true } })
  if (job.index === 0) {
    if (job.slots !== undefined) await queue.setGlobalConcurrency(job.slots)
    const data: Arrival = { atMs: Date.now(), weight: 1 }
    for (let added = 0; job.filled && added < job.jobs; added += BULK) {
      await queue.addBulk(Array.from({ length: Math.min(BULK, job.jobs - added) }, () => ({ name: 'j', data })))
    }
  }
  const limiter = job.rate && { max: job.rate.limit, duration: job.rate.windowMs }
  const worker = new Worker(QUEUE, ({ data }) => call(data), {
    connection,
    autorun: false,
    concurrency: job.slots ?? job.outstanding,
    ...(limiter && { limiter }),
  })
  await worker.waitUntilReady()
  return { submit: (arrival) => queue.add('j', arrival), start: () => void worker.run() }
}
