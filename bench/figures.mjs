// The figures of the README and of the issues, measured through the command line: `npm run bench:account [-- TRACE.csv]`.
// Prints one JSON object; progress goes to stderr. Needs redis-server on PATH, or REDIS_URL.
import { spawnSync } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { flags } from '../scripts/flags.mjs'

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
const {
  names: [trace],
} = flags({}, '[TRACE.csv]')
/** Windows, latency and backoff shrink with it; 15 keeps the guard at 5 % of a minute's window. */
const SPEED = '15'

function headgate(...args) {
  process.stderr.write(`\n$ headgate ${args.join(' ')}\n`)
  const startMs = Date.now()
  const { status, stdout } = spawnSync(process.execPath, [CLI, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`headgate ${args[0]} ended with ${status}`)
  return { ...JSON.parse(stdout), seconds: Math.round((Date.now() - startMs) / 1000) }
}

const figures = {
  machine: { node: process.version, cores: cpus().length, date: new Date().toISOString() },
  account: headgate('demo', '--minutes', '60', '--speed', SPEED, '--processes', '4', '--json'),
}
if (trace) {
  const replay = ['replay', trace, '--processes', '4', '--speed', SPEED, '--json']
  figures.trace = headgate(...replay, '--compare')
  figures.traceBusy = headgate(...replay, '--compare', '--busy', '0.9')
  figures.traceKilled = headgate(...replay, '--kill-at', '0.5')
}
process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`)
