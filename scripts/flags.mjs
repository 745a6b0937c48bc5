// The flags of benches and scripts, by Node's own parser.
import { basename } from 'node:path'
import { parseArgs } from 'node:util'

/**
 * What the command line says, by name: a number, a text or a switch, as the standard that is given for each; `names` are
 * the words beside them, if `words` says what they are. `--help` prints both, and what is not understood ends the process
 * with 2.
 */
export function flags(standards, words) {
  const known = Object.entries(standards)
  const options = Object.fromEntries([
    ['help', { type: 'boolean' }],
    ...known.map(([name, standard]) => [name, { type: typeof standard === 'boolean' ? 'boolean' : 'string' }]),
  ])
  const shown = known.map(([name, standard]) => (standard === false ? `[--${name}]` : `[--${name} ${standard}]`))
  const usage = `usage: node ${basename(process.argv[1])} ${[words ?? [], ...shown].flat().join(' ')}`.trimEnd()
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: words !== undefined })
    if (values.help) {
      process.stdout.write(`${usage}\n`)
      process.exit(0)
    }
    const read = known.map(([name, standard]) => [name, readAs(name, values[name], standard)])
    return { ...Object.fromEntries(read), names: positionals }
  } catch (error) {
    process.stderr.write(`${error.message}\n${usage}\n`)
    process.exit(2)
  }
}

function readAs(name, given, standard) {
  if (given === undefined || typeof standard !== 'number') return given ?? standard
  const value = Number(given)
  if (given.trim() === '' || !(value >= 0 && value < Number.POSITIVE_INFINITY))
    throw new Error(`--${name}: expected a number ≥ 0, got ${JSON.stringify(given)}`)
  return value
}
