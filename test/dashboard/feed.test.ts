import { afterEach, expect, test } from 'vitest'
import { createHeadgate, type Headgate } from '../../src/index.js'
import { DashboardFeed } from '../../src/surfaces/dashboard/feed.js'
import { RecentRequests } from '../../src/surfaces/dashboard/recent.js'
import type { Batch, FeedEvents, RequestView, Snapshot } from '../../src/surfaces/dashboard/wire.js'
import { startSimulator } from '../../src/testing/index.js'

const PROMPT = 'a very private prompt'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function rig() {
  const simulator = await startSimulator({ profile: 'glm', latencyMs: 1, errors: [{ share: 0.5, code: '1200' }] })
  const retry = { maxAttempts: 2, baseMs: 1, capMs: 1 }
  const pool = { provider: 'glm', apiKey: 'secret-key', baseURL: simulator.baseURL, retry, guardMs: 1 }
  const gate = createHeadgate({ pools: { glm: pool } })
  const feed = new DashboardFeed(gate)
  cleanups.push(
    () => simulator.close(),
    () => gate.close(),
    () => feed.close(),
  )
  return { gate, feed }
}

/** Reads events of a stream one by one. */
function readerOf(stream: ReadableStream<Uint8Array>) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  const next = async (): Promise<[name: string, data: never, raw: string] | undefined> => {
    while (!text.includes('\n\n')) {
      const { done, value } = await reader.read()
      if (done) return undefined
      text += value
    }
    const raw = text.slice(0, text.indexOf('\n\n'))
    text = text.slice(raw.length + 2)
    const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(raw)!
    return [name!, JSON.parse(data!) as never, raw]
  }
  const until = async <K extends keyof FeedEvents>(
    wanted: K,
    enough: (data: FeedEvents[K]) => boolean = () => true,
  ) => {
    for (;;) {
      const event = await next()
      if (!event) throw new Error(`the stream ended before ${wanted}`)
      if (event[0] === wanted && enough(event[1])) return event[1] as FeedEvents[K]
    }
  }
  return { next, until, cancel: () => reader.cancel() }
}

const chat = (gate: Headgate) => gate.spawn({ pool: 'glm', messages: [{ role: 'user', content: PROMPT }] })

test('batches what happens, for who is there and who comes later, without payloads', async () => {
  const { gate, feed } = await rig()
  const first = readerOf(feed.open()!)
  const { requests, counts } = await first.until('snapshot')
  expect([requests, counts]).toEqual([[], { glm: {} }])
  const outcomes = await Promise.all(Array.from({ length: 10 }, async () => (await chat(gate)).outcome))
  const recent = new RecentRequests()
  const flow: Record<string, number> = {}
  const seen: string[] = []
  while ([...recent.all()].filter(({ end }) => end).length < 10) {
    const batch: Batch = await first.until('batch')
    seen.push(JSON.stringify(batch))
    recent.apply(batch)
    for (const [edge, times] of Object.entries(batch.flow)) flow[edge] = (flow[edge] ?? 0) + times
  }
  expect(flow['>queued']).toBe(10)
  const failed = outcomes.reduce((sum, { attempts, status }) => sum + attempts - (status === 'completed' ? 1 : 0), 0)
  expect([...recent.all()].reduce((sum, { failures }) => sum + failures.length, 0)).toBe(failed)
  expect(failed).toBeGreaterThan(0)
  const late = await readerOf(feed.open()!).until('snapshot')
  expect(new Map(late.requests.map((one: RequestView) => [one.id, one]))).toEqual(
    new Map([...recent.all()].map((one) => [one.id, one])),
  )
  const stats = await first.until('stats', ({ totals }) => totals.completed + totals.failed === 10)
  const all = [...seen, JSON.stringify([late, stats])].join('\n')
  for (const secret of [PROMPT, 'secret-key']) expect(all).not.toContain(secret)
})

test('tells who comes in the middle of a batch no step twice', async () => {
  const { gate, feed } = await rig()
  const first = readerOf(feed.open()!)
  await first.until('snapshot')
  const outcomes = Array.from({ length: 5 }, () => gate.run({ pool: 'glm' }, async () => {}))
  await new Promise((resolve) => gate.on('transition', ({ to }) => to === 'calling' && resolve(to)))
  // Some steps are in no batch yet: they are in the snapshot, and must not come again.
  const late = readerOf(feed.open()!)
  const recent = new RecentRequests()
  for (const request of (await late.until('snapshot')).requests) recent.add(request)
  expect(recent.isEmpty).toBe(false)
  await Promise.all(outcomes)
  while ([...recent.all()].filter(({ end }) => end).length < 5) recent.apply(await late.until('batch'))
  for (const { steps } of recent.all())
    expect(steps.map(([state]) => state)).toEqual(['queued', 'waiting-for-token', 'calling', 'done'])
})

test('a viewer that reads nothing loses batches, is told how many, and begins anew', async () => {
  const { gate, feed } = await rig()
  const fast = readerOf(feed.open()!)
  const slow = readerOf(feed.open()!)
  const first: Snapshot = await slow.until('snapshot')
  expect(first.missed).toBe(0)
  const requests = 3_000
  let begun = 0
  for (let n = 0; n < requests; n += 100) {
    await Promise.all(Array.from({ length: 100 }, () => gate.run({ pool: 'glm' }, async () => {})))
    // Batches go out to who reads.
    while (begun < n + 100) begun += (await fast.until('batch')).flow['>queued'] ?? 0
  }
  const anew = await slow.until('snapshot')
  expect(anew.missed).toBeGreaterThan(0)
  expect(anew.requests.length).toBeLessThanOrEqual(1_000)
})

test('listens to nothing while nobody looks, and ends its streams when it closes', async () => {
  const { gate, feed } = await rig()
  let listeners = 0
  const on = gate.on.bind(gate)
  gate.on = ((event: never, listener: never) => {
    listeners++
    const off = on(event, listener)
    return () => {
      listeners--
      off()
    }
  }) as typeof gate.on
  const viewer = readerOf(feed.open()!)
  await viewer.until('snapshot')
  expect(listeners).toBe(4)
  await viewer.cancel()
  expect(listeners).toBe(0)
  const again = readerOf(feed.open()!)
  feed.close()
  while (await again.next());
  expect(listeners).toBe(0)
  expect(feed.open()).toBeUndefined()
})
