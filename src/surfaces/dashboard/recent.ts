import type { Batch, FailedAttempt, RequestEnd, RequestView, Step } from './wire.js'

/** Requests kept: those that are not done, and those that are. */
const MAX_LIVE = 500
const MAX_DONE = 500
/** Of one request; one that goes round and round keeps its first ones. */
const MAX_STEPS = 100

/** Live and recent requests, bounded. The gateway keeps one for who comes later, and each page one of its own. */
export class RecentRequests {
  readonly #live = new Map<string, RequestView>()
  readonly #done = new Map<string, RequestView>()

  get(id: string): RequestView | undefined {
    return this.#live.get(id) ?? this.#done.get(id)
  }

  /** Live ones first, each from the oldest on. */
  *all(): Generator<RequestView> {
    yield* this.#live.values()
    yield* this.#done.values()
  }

  get isEmpty(): boolean {
    return this.#live.size + this.#done.size === 0
  }

  get hasRoom(): boolean {
    return this.#live.size < MAX_LIVE
  }

  add(request: RequestView): void {
    if (request.end) this.#keep(request)
    else if (this.hasRoom) this.#live.set(request.id, request)
  }

  /** True for a request that is kept. */
  step(id: string, step: Step): boolean {
    const request = this.#live.get(id)
    if (request && request.steps.length < MAX_STEPS) request.steps.push(step)
    return request !== undefined
  }

  fail(id: string, failure: FailedAttempt): boolean {
    const request = this.#live.get(id)
    if (request && request.failures.length < MAX_STEPS) request.failures.push(failure)
    return request !== undefined
  }

  end(id: string, end: RequestEnd): boolean {
    const request = this.#live.get(id)
    if (!request) return false
    this.#live.delete(id)
    request.end = end
    this.#keep(request)
    return true
  }

  apply({ steps, failures, ends }: Batch): void {
    for (const [id, pool, tenant, ...step] of steps) {
      if (!this.step(id, step)) this.add({ id, pool, tenant, steps: [step], failures: [] })
    }
    for (const [id, failure] of failures) this.fail(id, failure)
    for (const [id, end] of ends) this.end(id, end)
  }

  clear(): void {
    this.#live.clear()
    this.#done.clear()
  }

  #keep(request: RequestView): void {
    this.#done.set(request.id, request)
    if (this.#done.size <= MAX_DONE) return
    const [oldest] = this.#done.keys()
    this.#done.delete(oldest!)
  }
}
