import { hostname } from 'node:os'
import type { AttemptFailedEvent, OutcomeEvent, TransitionEvent } from '../../events.js'
import type { Headgate } from '../../gate.js'
import { RecentRequests } from './recent.js'
import { Viewer } from './viewer.js'
import type { Batch, FeedEvents, Health, RequestEnd, Snapshot, StateCounts, Step } from './wire.js'

const BATCH_MS = 100
const STATS_MS = 1_500
const MAX_VIEWERS = 32
/** New requests that one batch tells of one by one: at 1,000 transitions a second there are some 30. */
const MAX_NEW_PER_BATCH = 60
const MAX_LIVE_AT_START = 200

type Mutable<T> = { -readonly [K in keyof T]: T[K] extends readonly (infer E)[] ? E[] : T[K] }

/**
 * What the dashboard's pages see of a gate: its transitions in batches, and the fleet's figures now and then. While there is
 * no page, it listens to nothing and keeps nothing. All pages share one batch and one reading of the figures.
 */
export class DashboardFeed {
  readonly #viewers = new Set<Viewer>()
  readonly #recent = new RecentRequests()
  #batch = newBatch()
  #flow = new Map<string, number>()
  #newInBatch = 0
  #stop: (() => void) | undefined
  #stats: string | undefined
  #closed = false

  constructor(private readonly gate: Headgate) {}

  /** A stream of server-sent events; undefined when there are too many viewers already, or the gateway is closing. */
  open(): ReadableStream<Uint8Array> | undefined {
    if (this.#closed || this.#viewers.size >= MAX_VIEWERS) return undefined
    this.#stop ??= this.#start()
    const viewer = new Viewer(
      (missed) => this.#beginning(missed),
      () => this.#leave(viewer),
    )
    this.#viewers.add(viewer)
    return viewer.stream
  }

  close(): void {
    this.#closed = true
    for (const viewer of this.#viewers) {
      viewer.end()
      this.#leave(viewer)
    }
  }

  #leave(viewer: Viewer): void {
    this.#viewers.delete(viewer)
    if (this.#viewers.size > 0) return
    this.#stop?.()
    this.#stop = undefined
    this.#recent.clear()
    this.#batch = newBatch()
    this.#flow.clear()
    this.#stats = undefined
  }

  #start(): () => void {
    for (const { id, pool, tenant, state, attempt, msIn } of this.gate.requests(MAX_LIVE_AT_START)) {
      // How it came so far is not known, but how long it took in all, and how long it has been where it is.
      const sinceMs = Date.now() - msIn[state]
      this.#recent.add({ id, pool, tenant, steps: [[state, 'seen', attempt, sinceMs]], failures: [] })
    }
    const offs = [
      this.gate.on('transition', (event) => this.#onTransition(event)),
      this.gate.on('attempt-failed', (event) => this.#onFailure(event)),
      this.gate.on('outcome', (event) => this.#onOutcome(event)),
      this.gate.on('dispatcher', () => this.#tell('health', this.#health())),
    ]
    const batches = setInterval(() => this.#flush(), BATCH_MS)
    const figures = setInterval(() => void this.#readStats(), STATS_MS)
    void this.#readStats()
    return () => {
      for (const off of offs) off()
      clearInterval(batches)
      clearInterval(figures)
    }
  }

  #onTransition({ requestId, pool, tenant, from, to, event, attempt, atMs }: TransitionEvent): void {
    const edge = `${from ?? ''}>${to}`
    this.#flow.set(edge, (this.#flow.get(edge) ?? 0) + 1)
    const step: Step = [to, event, attempt, Math.round(atMs)]
    if (from === null) {
      if (this.#newInBatch >= MAX_NEW_PER_BATCH || !this.#recent.hasRoom) {
        this.#batch.untold++
        return
      }
      this.#newInBatch++
      this.#recent.add({ id: requestId, pool, tenant, steps: [step], failures: [] })
    } else if (!this.#recent.step(requestId, step)) return
    this.#batch.steps.push([requestId, pool, tenant, ...step])
  }

  #onFailure({ requestId, attempt, code, status, providerCode }: AttemptFailedEvent): void {
    const known = { ...(status !== undefined && { status }), ...(providerCode !== undefined && { providerCode }) }
    const failure = { attempt, code, ...known, atMs: Date.now() }
    if (this.#recent.fail(requestId, failure)) this.#batch.failures.push([requestId, failure])
  }

  #onOutcome({ requestId, status, queuedMs, waitedMs, calledMs, backedOffMs }: OutcomeEvent): void {
    const end: RequestEnd = { status, queuedMs, waitedMs, calledMs, backedOffMs, atMs: Date.now() }
    if (this.#recent.end(requestId, end)) this.#batch.ends.push([requestId, end])
  }

  #flush(): void {
    if (this.#flow.size === 0) return
    const flow = Object.fromEntries(this.#flow)
    this.#flow.clear()
    this.#tell('batch', { ...this.#batch, atMs: Date.now(), counts: this.#counts(), flow })
    this.#batch = newBatch()
    this.#newInBatch = 0
  }

  /** The store may be slow to say that it is gone: the next reading waits for this one. */
  #reading = false
  async #readStats(): Promise<void> {
    if (this.#reading) return
    this.#reading = true
    try {
      const stats = eventOf('stats', await this.gate.monitoring())
      if (this.#viewers.size === 0) return
      this.#stats = stats
      for (const viewer of this.#viewers) viewer.put(stats)
      this.#tell('health', this.#health())
    } catch {
      // Told by health: figures that can't be read now are read again soon.
      this.#tell('health', this.#health())
    } finally {
      this.#reading = false
    }
  }

  #beginning(missed: number): string {
    // What the snapshot has is not to come again with the next batch.
    this.#flush()
    const snapshot: Snapshot = {
      atMs: Date.now(),
      pid: process.pid,
      host: hostname(),
      counts: this.#counts(),
      requests: [...this.#recent.all()],
      missed,
    }
    return eventOf('snapshot', snapshot) + eventOf('health', this.#health()) + (this.#stats ?? '')
  }

  #counts(): StateCounts {
    return Object.fromEntries(Object.entries(this.gate.stats().pools).map(([name, { states }]) => [name, states]))
  }

  #health(): Health {
    const pools = Object.entries(this.gate.stats().pools)
    return {
      sending: this.gate.sending,
      dispatchers: Object.fromEntries(pools.map(([name, { dispatcher }]) => [name, dispatcher])),
    }
  }

  #tell<K extends keyof FeedEvents>(name: K, data: FeedEvents[K]): void {
    const event = eventOf(name, data)
    for (const viewer of this.#viewers) viewer.put(event)
  }
}

function newBatch(): Mutable<Omit<Batch, 'atMs' | 'counts' | 'flow'>> {
  return { steps: [], failures: [], ends: [], untold: 0 }
}

function eventOf<K extends keyof FeedEvents>(name: K, data: FeedEvents[K]): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
