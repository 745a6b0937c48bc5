// Every benchmark by one command: `npm run bench [-- NAME … --quick --json …]`; `--help` lists names and flags.
// The questions are in `questions/`, one file each. Needs redis-server on PATH.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { bundle } from '../scripts/bundle.mjs'

const outDir = await bundle({ main: 'bench/harness/main.ts', worker: 'bench/harness/worker.ts' })
const { main } = await import(pathToFileURL(join(outDir, 'main.js')).href)
process.exitCode = await main(process.argv.slice(2), join(outDir, 'worker.js'))
