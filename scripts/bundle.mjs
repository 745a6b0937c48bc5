// TypeScript that is run from the sources: benches and the simulation, bundled as the build bundles the package.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'tsdown'
import { dashboardPage } from './dashboard-page.mjs'

const PREFIX = '.headgate-'
const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Bundles entries (name → path from the project's root) for as long as the process lives; returns the folder. */
export async function bundle(entries) {
  // Inside the project, so that the bundle finds its packages.
  const modules = join(ROOT, 'node_modules')
  removeLeftBehind(modules)
  const outDir = mkdtempSync(join(modules, `${PREFIX}${process.pid}-`))
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

/** Bundles of processes that were killed: nobody else takes them away. */
function removeLeftBehind(modules) {
  for (const name of readdirSync(modules)) {
    if (name.startsWith(PREFIX) && !isAlive(Number(name.slice(PREFIX.length).split('-')[0])))
      rmSync(join(modules, name), { recursive: true, force: true })
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
}
