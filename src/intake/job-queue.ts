import type { Queue } from 'p-queue'
import { FairQueue, type Place } from '../dispatch/fair-queue.js'

type Job = () => Promise<unknown>

/** What p-queue passes through to the queue with each job. */
export interface JobOptions {
  readonly id?: string
  readonly priority?: number
  readonly timeout?: number
  readonly flowKey?: string
  readonly weight?: number
}

/** p-queue's waiting jobs in fair order, in place of its sorted array: adding and removing are O(1). */
export class JobQueue implements Queue<Job, JobOptions> {
  readonly #queue = new FairQueue<{ job: Job; id: string }>()
  readonly #places = new Map<string, Place<{ job: Job; id: string }>>()

  get size(): number {
    return this.#queue.size
  }

  enqueue(job: Job, options: Partial<JobOptions> = {}): void {
    const { id = '', flowKey = '', weight = 1 } = options
    this.#places.set(id, this.#queue.add(flowKey, weight, 1, { job, id }))
  }

  dequeue(): Job | undefined {
    const next = this.#queue.shift()
    if (next) this.#places.delete(next.id)
    return next?.job
  }

  /** Takes a job out unserved. */
  remove(id: string): void {
    const place = this.#places.get(id)
    if (!place) return
    this.#places.delete(id)
    this.#queue.remove(place)
  }

  filter(): Job[] {
    return [...this.#queue].map(({ job }) => job)
  }

  setPriority(): void {
    throw new Error('priorities are flows here: a queued request keeps the one it came with')
  }
}
