import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { CliError } from '../errors.js'

/** One request of a trace. */
export interface TraceRow {
  /** Since the trace's first row, in trace time; with fractions. */
  readonly atMs: number
  readonly contextTokens: number
  readonly generatedTokens: number
}

/** A trace that can be read more than once, a row at a time. */
export interface Trace {
  readonly name: string
  rows(): AsyncIterable<TraceRow>
}

export interface TraceSummary {
  readonly rows: number
  readonly durationMs: number
  /** Context and generated, of all rows. */
  readonly tokens: number
  /** Of the largest row. */
  readonly maxTokens: number
}

const COLUMNS = ['TIMESTAMP', 'ContextTokens', 'GeneratedTokens'] as const
const TIMESTAMP = /^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2}):(\d{2})(\.\d{1,9})?(?:Z|\+00:?00)?$/
const EXPECTED_TIMESTAMP = "a TIMESTAMP such as '2023-11-16 18:17:03.9799600'"
const MAX_SHOWN = 60

/** A trace in a CSV file; columns are found by the header's names. Memory does not grow with the file. */
export function traceFile(path: string, maxRows = Number.POSITIVE_INFINITY): Trace {
  return { name: path, rows: () => readRows(path, maxRows) }
}

/** Reads a trace through once: whatever is wrong with it is found before anything starts. */
export async function summarize(trace: Trace): Promise<TraceSummary> {
  let rows = 0
  let durationMs = 0
  let tokens = 0
  let maxTokens = 0
  for await (const row of trace.rows()) {
    const cost = costOf(row)
    rows++
    durationMs = row.atMs
    tokens += cost
    maxTokens = Math.max(maxTokens, cost)
  }
  if (rows === 0) throw new CliError(`${trace.name}: the trace has no rows`)
  return { rows, durationMs, tokens, maxTokens }
}

/** What a row takes of a token limit. A provider generates at least one token. */
export function costOf({ contextTokens, generatedTokens }: TraceRow): number {
  return contextTokens + Math.max(1, generatedTokens)
}

async function* readRows(path: string, maxRows: number): AsyncGenerator<TraceRow> {
  const stream = createReadStream(path, 'utf8')
  await once(stream, 'open').catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`${path}: can't be read: ${error.code === 'ENOENT' ? 'no such file' : error.code}`)
  })
  const lines = createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY })
  let line = 0
  let rows = 0
  let columns: readonly number[] | undefined
  let firstMs: number | undefined
  let lastMs = 0
  try {
    for await (const text of lines) {
      line++
      if (text.trim() === '') continue
      const fields = text.split(',').map(unquote)
      if (!columns) {
        columns = columnsOf(fields, `${path}:${line}`)
        continue
      }
      if (rows >= maxRows) return
      const { atMs, ...counts } = readRow(columns, fields, text, `${path}:${line}`)
      firstMs ??= atMs
      const sinceFirstMs = atMs - firstMs
      if (sinceFirstMs < lastMs)
        throw bad(`${path}:${line}`, 'a TIMESTAMP not before the previous row', fields[columns[0]!])
      lastMs = sinceFirstMs
      rows++
      yield { atMs: sinceFirstMs, ...counts }
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw error instanceof CliError ? error : new CliError(`${path}: can't be read: ${code ?? String(error)}`)
  } finally {
    lines.close()
    stream.destroy()
  }
}

function columnsOf(fields: readonly string[], where: string): number[] {
  return COLUMNS.map((name) => {
    const index = fields.indexOf(name)
    if (index < 0) throw bad(where, `a header with the columns ${COLUMNS.join(', ')}`, fields.join(','))
    return index
  })
}

function readRow(columns: readonly number[], fields: readonly string[], text: string, where: string): TraceRow {
  const [timestamp, context, generated] = columns.map((index) => fields[index])
  if (timestamp === undefined || context === undefined || generated === undefined) {
    throw bad(where, `${COLUMNS.length} columns: ${COLUMNS.join(', ')}`, text)
  }
  return {
    atMs: parseTimestamp(timestamp) ?? fail(where, EXPECTED_TIMESTAMP, timestamp),
    contextTokens: parseCount(context) ?? fail(where, 'ContextTokens as a whole number ≥ 0', context),
    generatedTokens: parseCount(generated) ?? fail(where, 'GeneratedTokens as a whole number ≥ 0', generated),
  }
}

function parseTimestamp(text: string): number | undefined {
  const [, year, month, day, hour, minute, second, fraction = '0'] = TIMESTAMP.exec(text) ?? []
  if (year === undefined) return undefined
  const wholeMs = Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second))
  // 31 February and 25 o'clock would silently be some other instant.
  const same = new Date(wholeMs).toISOString().slice(0, 19) === `${year}-${month}-${day}T${hour}:${minute}:${second}`
  return same ? wholeMs + Number(fraction) * 1000 : undefined
}

function parseCount(text: string): number | undefined {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(count) ? count : undefined
}

function unquote(field: string): string {
  return field
    .trim()
    .replace(/^"(.*)"$/, '$1')
    .replace(/^\uFEFF/, '')
}

function fail(where: string, expected: string, got: string): never {
  throw bad(where, expected, got)
}

function bad(where: string, expected: string, got: string | undefined): CliError {
  return new CliError(`${where}: expected ${expected}, got ${JSON.stringify((got ?? '').slice(0, MAX_SHOWN))}`)
}
