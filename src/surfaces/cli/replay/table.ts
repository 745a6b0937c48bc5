import Table from 'cli-table3'
import type { ModeReport, ReplayReport } from './report.js'

const HOUR_MS = 3_600_000

/** The report for people: before and after when both were replayed. */
export function renderTable({ governed, unprotected }: ReplayReport, traceMs: number): string {
  const modes = unprotected ? [unprotected, governed] : [governed]
  const codes = [...new Set(modes.flatMap(({ provider429 }) => Object.keys(provider429)))].sort()
  const hours = traceMs / HOUR_MS
  const row = (label: string, cell: (report: ModeReport) => string) => [label, ...modes.map(cell)]
  const table = new Table({
    head: ['', ...(unprotected ? ['unprotected (before)', 'governed (after)'] : ['governed'])],
    colAligns: ['left', ...modes.map(() => 'right' as const)],
    // Plain text: stdout may be a file.
    style: { head: [], border: [] },
  })
  const perHour = (count: number) => `${count} (${(count / hours).toFixed(1)} per hour)`
  table.push(
    row('requests', ({ requests }) => String(requests)),
    row('completed', ({ completed }) => String(completed)),
    row('degraded', ({ degraded }) => String(degraded)),
    row('failed', ({ failed }) => String(failed)),
    ...(governed.lost === undefined ? [] : [row('lost with the killed worker', ({ lost }) => String(lost ?? 0))]),
    row('success', ({ completed, requests }) => percent(completed / Math.max(1, requests), 2)),
    ...(codes.length === 0 ? [row("provider's 429s", () => perHour(0))] : []),
    ...codes.map((code) => row(`provider's 429s, code ${code}`, ({ provider429 }) => perHour(provider429[code] ?? 0))),
    row('worst sliding window, of the limit', ({ worstWindowRatio }) => percent(worstWindowRatio, 1)),
    row('utilisation (while backlogged, if ever)', ({ utilisation }) => percent(utilisation, 1)),
    row('added latency, mean', ({ addedLatencyMs }) => seconds(addedLatencyMs.mean)),
    row('added latency, p50', ({ addedLatencyMs }) => seconds(addedLatencyMs.p50)),
    row('added latency, p99', ({ addedLatencyMs }) => seconds(addedLatencyMs.p99)),
  )
  return `${table.toString()}\n`
}

function percent(share: number, digits: number): string {
  return `${(share * 100).toFixed(digits)} %`
}

function seconds(valueMs: number | null): string {
  return valueMs === null ? '–' : `${(valueMs / 1000).toFixed(2)} s`
}
