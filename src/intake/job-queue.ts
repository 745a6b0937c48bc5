import type { Queue } from 'p-queue'
import { FairQueue, type Place } from '../dispatch/fair-queue.js'

export type Job = () => Promise<unknown>

/** Whose job it is: where it stands in line is noted here, so that it can be taken out again. */
export interface Owner {
  place: Place<Job> | undefined
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
  readonly #queue = new FairQueue<Job>()

  get size(): number {
    return this.#queue.size
  }

  enqueue(job: Job, { flowKey = '', weight = 1, owner }: Partial<JobOptions> = {}): void {
    const place = this.#queue.add(flowKey, weight, 1, job)
    if (owner) owner.place = place
  }

  dequeue(): Job | undefined {
    return this.#queue.shift()
  }

  /** Takes a job out unserved. */
  takeOut({ place }: Owner): void {
    if (place) this.#queue.remove(place)
  }

  filter(): Job[] {
    return [...this.#queue]
  }

  setPriority(): void {
    throw new Error('priorities are flows here: a queued request keeps the one it came with')
  }
}
