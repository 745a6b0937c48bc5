// The dispatcher's figures, measured by the parts themselves: `npm run bench:fleet [-- --only NAME …] [--json]`.
// Bundles the bench with the sources it measures, then runs it. Needs redis-server on PATH.
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'tsdown'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
// Inside the project, so that the bundle finds its packages.
const outDir = mkdtempSync(join(ROOT, 'node_modules', '.headgate-bench-'))
process.once('exit', () => rmSync(outDir, { recursive: true, force: true }))
const entry = { main: join(ROOT, 'bench/fleet/main.ts'), worker: join(ROOT, 'bench/fleet/worker.ts') }
await build({
  config: false,
  cwd: ROOT,
  entry,
  outDir,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  fixedExtension: false,
  dts: false,
  clean: false,
  logLevel: 'error',
  loader: { '.lua': 'text' },
})
const { main } = await import(pathToFileURL(join(outDir, 'main.js')).href)
await main(process.argv.slice(2), join(outDir, 'worker.js'))
