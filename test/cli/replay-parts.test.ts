import { describe, expect, it } from 'vitest'
import { generateTrace, traceCsv, traceOf } from '../../src/surfaces/cli/replay/generate.js'
import { idealMeanWaitMs } from '../../src/surfaces/cli/replay/ideal.js'
import { deriveLimits, type ReplayLimits, scaleLimits } from '../../src/surfaces/cli/replay/limits.js'
import { summarize, type TraceRow, traceFile } from '../../src/surfaces/cli/replay/trace.js'
import { type Span, utilisation } from '../../src/surfaces/cli/replay/use.js'
import { fileOf } from './cli.js'

async function read(path: string, maxRows?: number): Promise<TraceRow[]> {
  const rows: TraceRow[] = []
  for await (const row of traceFile(path, maxRows).rows()) rows.push(row)
  return rows
}

describe('a trace', () => {
  it('is generated alike for the same seed, and read back as it was', async () => {
    const options = {
      durationMs: 600_000,
      perMinute: 30,
      bursts: { everyMs: 60_000, sizes: [5, 9], spreadMs: 1_000 },
    } as const
    const rows = generateTrace({ seed: 5, ...options })
    expect(generateTrace({ seed: 5, ...options })).toEqual(rows)
    expect(generateTrace({ seed: 6, ...options })).not.toEqual(rows)
    expect(rows.length).toBeGreaterThan(250)
    const path = await fileOf('trace.csv', traceCsv(rows))
    const back = await read(path)
    expect(back).toHaveLength(rows.length)
    back.forEach((row, index) => {
      expect(row.atMs).toBeCloseTo(rows[index]!.atMs, 2)
      expect(row.contextTokens).toBe(rows[index]!.contextTokens)
    })
    expect(await read(path, 3)).toEqual(back.slice(0, 3))
  })

  it('may have its columns in any order, quotes, and others besides', async () => {
    const text =
      '\uFEFFid,"GeneratedTokens",ContextTokens,TIMESTAMP\n1,7,"8",2024-05-10T00:00:00.5+00:00\n2,0,3,2024-05-10 00:00:01Z\n'
    const path = await fileOf('trace.csv', text)
    expect(await read(path)).toEqual([
      { atMs: 0, contextTokens: 8, generatedTokens: 7 },
      { atMs: 500, contextTokens: 3, generatedTokens: 0 },
    ])
    expect(await summarize(traceFile(path))).toEqual({ rows: 2, durationMs: 500, tokens: 19, maxTokens: 15 })
  })
})

describe('limits', () => {
  it('are derived so that the mean use is the share asked for', () => {
    const summary = { rows: 600, durationMs: 600_000, tokens: 600_000, maxTokens: 5_000 }
    expect(deriveLimits(summary, 0.3, 5_000)).toEqual({
      requests: [{ limit: 200, windowMs: 60_000 }],
      tokens: [{ limit: 200_000, windowMs: 60_000 }],
      concurrency: 17,
    })
    expect(deriveLimits({ ...summary, maxTokens: 900_000 }, 0.3, 0).tokens[0]!.limit).toBe(900_000)
  })

  it('shrink their windows with the speed, and nothing else', () => {
    const limits = { requests: [{ limit: 50, windowMs: 60_000 }], tokens: [], concurrency: 5 }
    expect(scaleLimits(limits, 20)).toEqual({ ...limits, requests: [{ limit: 50, windowMs: 3_000 }] })
  })
})

describe('an ideal scheduler', () => {
  const row = (atMs: number, contextTokens = 1): TraceRow => ({ atMs, contextTokens, generatedTokens: 1 })
  const wait = (rows: readonly TraceRow[], limits: Partial<ReplayLimits>, latencyMs = 0) =>
    idealMeanWaitMs(traceOf('rows', rows), { requests: [], tokens: [], ...limits }, latencyMs)

  it('waits for windows and slots, in order, and for nothing else', async () => {
    const requests = [{ limit: 2, windowMs: 100 }]
    // The third waits until 100, the fourth until 110.
    expect(await wait([row(0), row(10), row(20), row(30)], { requests })).toBeCloseTo((80 + 80) / 4)
    expect(await wait([row(0), row(10), row(100), row(110)], { requests })).toBe(0)
    expect(await wait([row(0), row(0), row(0)], { concurrency: 1 }, 50)).toBeCloseTo((50 + 100) / 3)
    // The large one waits for the window of the first, and the small one behind it.
    expect(await wait([row(0, 4), row(10, 9), row(20)], { tokens: [{ limit: 10, windowMs: 100 }] })).toBeCloseTo(
      (90 + 180) / 3,
    )
  })
})

describe('utilisation while backlogged', () => {
  const limits = { requests: [{ limit: 10, windowMs: 100 }], tokens: [] }
  const arrivalsAt = (times: readonly number[]) =>
    times.map((atMs) => ({
      atMs,
      wallMs: atMs,
      promptTokens: 1,
      tokens: 1,
      inFlight: 1,
      id: null,
      status: 200,
      code: null,
    }))
  const every = (stepMs: number, endMs: number) => Array.from({ length: endMs / stepMs }, (_, i) => i * stepMs)
  const span = (dueMs: number, calledMs: number): Span => ({ dueMs, calledMs, endedMs: calledMs, accepted: true })

  it('counts only the windows throughout which someone waited', () => {
    // Waiting from 0 to 250: two whole windows of 100 ms, with 10 and 5 accepted; the quiet rest does not count.
    const arrivals = arrivalsAt([...every(10, 100), ...every(20, 100).map((atMs) => atMs + 100)])
    const spans = [span(0, 120), span(100, 250), span(900, 905)]
    expect(utilisation(spans, arrivals, 0, limits)).toBeCloseTo(0.75)
  })

  it('leaves out what the provider refused', () => {
    const arrivals = arrivalsAt(every(10, 100)).map((one, i) => (i % 2 ? { ...one, code: '1302', status: 429 } : one))
    expect(utilisation([span(0, 100)], arrivals, 0, limits)).toBeCloseTo(0.5)
  })

  it('takes the limit that was fullest, concurrency included', () => {
    const busy: Span[] = [0, 1].map(() => ({ dueMs: 0, calledMs: 0, endedMs: 200, accepted: true }))
    const spans = [...busy, span(0, 200)]
    expect(utilisation(spans, arrivalsAt([0, 1]), 0, { ...limits, concurrency: 2 })).toBeCloseTo(1)
    expect(utilisation(spans, arrivalsAt([0, 1]), 0, { ...limits, concurrency: 4 })).toBeCloseTo(0.5)
  })

  it('is the mean use of the whole replay when nobody waited so long', () => {
    const spans = [{ ...span(0, 1), endedMs: 1_000 }]
    expect(utilisation(spans, arrivalsAt(every(20, 1_000)), 0, limits)).toBeCloseTo(0.5)
    expect(utilisation([], [], 0, limits)).toBe(0)
  })
})
