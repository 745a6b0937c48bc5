// Every benchmark by one command: `npm run bench [-- NAME … --quick --json …]`; `--help` lists names and flags.
// The questions are in `questions/`, one file each. Needs redis-server on PATH, and a build for the question `gateway`.
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundle } from '../scripts/bundle.mjs'
import { installPeers } from './peers/install.mjs'

const outDir = await bundle({ main: 'bench/harness/main.ts', worker: 'bench/harness/worker.ts' })
const { main } = await import(pathToFileURL(join(outDir, 'main.js')).href)
const root = fileURLToPath(new URL('..', import.meta.url))
process.exitCode = await main(process.argv.slice(2), {
  root,
  worker: join(outDir, 'worker.js'),
  peers: () => installPeers(root),
})
