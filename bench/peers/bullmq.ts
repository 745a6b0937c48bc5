import { connectionOf, load, type Peer, type PeerJob } from './peer.js'

interface BullMq {
  readonly Queue: new (
    name: string,
    options: object,
  ) => { addBulk(jobs: object[]): Promise<unknown>; setGlobalConcurrency(slots: number): Promise<unknown> }
  readonly Worker: new (
    name: string,
    run: () => Promise<void>,
    options: object,
  ) => { run(): Promise<void>; waitUntilReady(): Promise<unknown> }
}

const QUEUE = 'bench'
const BULK = 5_000

/** Workers of one queue, which is filled before: what adding a job costs is not measured. */
export async function bullMq(job: PeerJob): Promise<Peer> {
  const { Queue, Worker } = load<BullMq>(job.home, 'bullmq')
  const connection = connectionOf(job)
  if (job.index === 0) {
    const queue = new Queue(QUEUE, { connection, defaultJobOptions: { removeOnComplete: true } })
    if (job.slots !== undefined) await queue.setGlobalConcurrency(job.slots)
    for (let added = 0; added < job.jobs; added += BULK) {
      await queue.addBulk(Array.from({ length: Math.min(BULK, job.jobs - added) }, () => ({ name: 'j', data: {} })))
    }
  }
  let run = async () => {}
  const limiter = job.rate && { max: job.rate.limit, duration: job.rate.windowMs }
  const worker = new Worker(QUEUE, () => run(), {
    connection,
    autorun: false,
    concurrency: job.slots ?? job.outstanding,
    ...(limiter && { limiter }),
  })
  await worker.waitUntilReady()
  return {
    start(call) {
      run = call
      void worker.run()
    },
  }
}
