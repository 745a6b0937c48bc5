// The dispatcher's figures, measured by the parts themselves: `npm run bench:fleet [-- NAME … --trace FILE --json]`.
// Needs redis-server on PATH.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { bundle } from '../scripts/bundle.mjs'

const outDir = await bundle({ main: 'bench/fleet/main.ts', worker: 'bench/fleet/worker.ts' })
const { main } = await import(pathToFileURL(join(outDir, 'main.js')).href)
process.exitCode = await main(process.argv.slice(2), join(outDir, 'worker.js'))
