import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { traceFile } from '../../src/surfaces/cli/replay/trace.js'
import { understood } from '../harness/understood.js'
import { FIGURES } from './figures.js'
import { traceWait } from './trace.js'

/** Shares of the trace's mean use in its limits: nearly full, and where an ideal scheduler waits a second or two. */
const BUSY = [0.9, 0.31]

const HELP = `npm run bench:fleet [-- NAME … --trace FILE --json]\n\n`

/**
 * Measures the figures named, or all, one after the other; with `--trace FILE` the waits of a trace besides. Returns the
 * exit code: 2 for words that are none of the bench's.
 */
export async function main(args: readonly string[], worker: string): Promise<number> {
  const wanted = understood(() => parse(args))
  if (!wanted) return 2
  const { help, json, trace, names } = wanted
  if (help) {
    const list = FIGURES.map(({ name, what }) => `  ${name.padEnd(10)}  ${what}`).join('\n')
    process.stdout.write(`${HELP}${list}\n`)
    return 0
  }
  const results: Record<string, unknown> = {}
  const show = (name: string, goal: string, measured: Readonly<Record<string, number>>) => {
    if (json) return
    const shown = Object.entries(measured).map(([key, value]) => `${key} ${Number(value.toFixed(4))}`)
    process.stdout.write(`${name} (${goal})\n  ${shown.join(', ')}\n`)
  }
  for (const busy of trace === undefined ? [] : BUSY) {
    process.stderr.write(`trace at ${busy} busy, on a virtual clock…\n`)
    const measured = await traceWait(traceFile(trace!), busy)
    results[`trace ${busy}`] = measured
    show(`trace at ${busy} busy`, 'ratio ≤ 1.02 at 0.9; excess ≤ 120 ms where the ideal is 1–2 s', measured)
  }
  for (const figure of FIGURES) {
    if ((names.length > 0 || trace !== undefined) && !names.includes(figure.name)) continue
    process.stderr.write(`${figure.name}: ${figure.what}…\n`)
    const measured = await figure.run(worker)
    results[figure.name] = { what: figure.what, goal: figure.goal, ...measured }
    show(figure.name, figure.goal, measured)
  }
  if (!json) return 0
  const machine = { node: process.version, cores: cpus().length, date: new Date().toISOString() }
  process.stdout.write(`${JSON.stringify({ machine, ...results }, null, 2)}\n`)
  return 0
}

function parse(args: readonly string[]) {
  const { values, positionals: names } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      trace: { type: 'string' },
    },
  })
  const unknown = names.filter((name) => !FIGURES.some((figure) => figure.name === name))
  if (unknown.length > 0) {
    const known = FIGURES.map(({ name }) => name).join(', ')
    throw new Error(`expected figures of ${known}, got ${unknown.join(', ')}`)
  }
  return { ...values, names }
}
