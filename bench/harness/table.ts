import Table from 'cli-table3'
import type { Result, Spread } from './measure.js'

/** Three digits say all that such a figure can. */
function short(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3
  return value.toLocaleString('en-US', { maximumFractionDigits: digits })
}

function cell(spread: Spread | undefined): string {
  if (!spread) return ''
  const { median, least, most } = spread
  return short(least) === short(most) ? short(median) : `${short(median)} (${short(least)}–${short(most)})`
}

export function print({ name, what, meaning, overrun, cases, goals }: Result): void {
  const metrics = Object.keys(meaning).filter((metric) => cases.some((its) => metric in its.metrics))
  const table = new Table({ head: [name, ...metrics], style: { head: [], border: [] } })
  for (const its of cases) {
    const label = its.side === 'headgate' ? its.name : `${its.name} [${its.side}]`
    const broken = overrun !== undefined && (its.metrics[overrun]?.most ?? 0) > 1
    table.push([broken ? `${label} OVERRUN` : label, ...metrics.map((metric) => cell(its.metrics[metric]))])
  }
  const legend = metrics.map((metric) => `  ${metric}: ${meaning[metric]}`).join('\n')
  const verdicts = goals.map(({ what: goal, value, met }) => {
    const mark = met === null ? 'not measured' : met ? 'met' : 'MISSED'
    return `  ${mark}: ${goal}; got ${short(value)}`
  })
  process.stdout.write(`\n${what}\n${table}\n${legend}\n${verdicts.map((line) => `${line}\n`).join('')}`)
}
