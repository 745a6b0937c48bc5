import type { Queue } from 'p-queue'
import { FairQueue, type Line, type Place } from '../dispatch/fair-queue.js'

export type Job = () => Promise<unknown>

/** A job that waits. */
export class WaitingJob implements Place<WaitingJob> {
  line: Line<WaitingJob> | undefined = undefined
  cost = 0
  at = 0
  order = 0

  constructor(readonly job: Job) {}
}

/** Whose job it is: what waits for it is noted here, so that it can be taken out again. */
export interface Owner {
  waiting: WaitingJob | undefined
}

/** What p-queue passes through to the queue with each job. */
export interface JobOptions {
  readonly id?: string
  readonly priority?: number
  readonly timeout?: number
  readonly flowKey?: string
  readonly weight?: number
  readonly owner?: Owner
}

/** p-queue's waiting jobs in fair order, in place of its sorted array: adding and removing are O(1). */
export class JobQueue implements Queue<Job, JobOptions> {
  readonly #queue = new FairQueue<WaitingJob>()

  get size(): number {
    return this.#queue.size
  }

  enqueue(job: Job, { flowKey = '', weight = 1, owner }: Partial<JobOptions> = {}): void {
    const waiting = new WaitingJob(job)
    this.#queue.add(flowKey, weight, 1, waiting)
    if (owner) owner.waiting = waiting
  }

  dequeue(): Job | undefined {
    return this.#queue.shift()?.job
  }

  /** Takes a job out unserved. */
  takeOut({ waiting }: Owner): void {
    if (waiting) this.#queue.remove(waiting)
  }

  filter(): Job[] {
    return Array.from(this.#queue, ({ job }) => job)
  }

  setPriority(): void {
    throw new Error('priorities are flows here: a queued request keeps the one it came with')
  }
}
