// TypeScript that is run from the sources: benches and the simulation, bundled as the build bundles the package.
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'tsdown'
import { dashboardPage } from './dashboard-page.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Bundles entries (name → path from the project's root) for as long as the process lives; returns the folder. */
export async function bundle(entries) {
  // Inside the project, so that the bundle finds its packages.
  const outDir = mkdtempSync(join(ROOT, 'node_modules', '.headgate-'))
  process.once('exit', () => rmSync(outDir, { recursive: true, force: true }))
  await build({
    config: false,
    cwd: ROOT,
    entry: Object.fromEntries(Object.entries(entries).map(([name, path]) => [name, join(ROOT, path)])),
    outDir,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    fixedExtension: false,
    dts: false,
    clean: false,
    logLevel: 'error',
    plugins: [dashboardPage()],
    loader: { '.lua': 'text' },
  })
  return outDir
}
