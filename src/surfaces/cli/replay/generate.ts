import { seededRandom } from '../../../testing/index.js'
import type { Trace, TraceRow } from './trace.js'

export interface GenerateOptions {
  readonly seed: number
  readonly durationMs: number
  /** Mean of the steady part, which arrives as a Poisson process. */
  readonly perMinute: number
  /** Bursts: on average this far apart, of so many requests, spread over so long. */
  readonly bursts?: {
    readonly everyMs: number
    readonly sizes: readonly [least: number, most: number]
    readonly spreadMs: number
  }
  /** Medians of log-normals. */
  readonly contextTokens?: number
  readonly generatedTokens?: number
}

const TOKEN_SIGMA = 0.8
const MAX_CONTEXT_TOKENS = 16_000
const MAX_GENERATED_TOKENS = 4_000

/** A made-up trace: steady traffic with bursts, the same for the same seed. */
export function generateTrace(options: GenerateOptions): TraceRow[] {
  const { durationMs, perMinute, bursts, contextTokens = 500, generatedTokens = 100 } = options
  const random = seededRandom(options.seed)
  const times: number[] = []
  const poisson = (meanGapMs: number, arrive: (atMs: number) => void) => {
    for (let atMs = gap(meanGapMs, random); atMs < durationMs; atMs += gap(meanGapMs, random)) arrive(atMs)
  }
  poisson(60_000 / perMinute, (atMs) => times.push(atMs))
  if (bursts) {
    const [least, most] = bursts.sizes
    poisson(bursts.everyMs, (startMs) => {
      const size = least + Math.floor(random() * (most - least + 1))
      for (let i = 0; i < size; i++) times.push(startMs + random() * bursts.spreadMs)
    })
  }
  const sorted = times.filter((atMs) => atMs < durationMs).sort((a, b) => a - b)
  const firstMs = sorted[0] ?? 0
  return sorted.map((atMs) => ({
    atMs: atMs - firstMs,
    contextTokens: Math.min(MAX_CONTEXT_TOKENS, logNormal(contextTokens, random)),
    generatedTokens: Math.min(MAX_GENERATED_TOKENS, logNormal(generatedTokens, random)),
  }))
}

/** Rows in memory as a trace. */
export function traceOf(name: string, rows: readonly TraceRow[]): Trace {
  return {
    name,
    async *rows() {
      yield* rows
    },
  }
}

/** Rows as a CSV file's text, in the columns that `replay` reads. */
export function traceCsv(rows: readonly TraceRow[], startMs = Date.UTC(2024, 0, 1)): string {
  const lines = rows.map(({ atMs, contextTokens, generatedTokens }) => {
    const wholeMs = Math.floor(atMs)
    const stamp = new Date(startMs + wholeMs).toISOString().slice(0, -1).replace('T', ' ')
    const rest = String(Math.floor((atMs - wholeMs) * 10_000)).padStart(4, '0')
    return `${stamp}${rest},${contextTokens},${generatedTokens}`
  })
  return `${['TIMESTAMP,ContextTokens,GeneratedTokens', ...lines].join('\r\n')}\r\n`
}

function gap(meanMs: number, random: () => number): number {
  return -Math.log(1 - random()) * meanMs
}

function logNormal(median: number, random: () => number): number {
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return Math.max(1, Math.round(median * Math.exp(TOKEN_SIGMA * normal)))
}
