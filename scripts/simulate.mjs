#!/usr/bin/env node
// Runs the deterministic simulation: node scripts/simulate.mjs --seeds 1000 [--from 1] [--workers 2] [--json] | --seed 42
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const bundleFile = join(root, 'node_modules', '.cache', 'headgate-simulation', `main-${process.pid}.mjs`)

async function bundle() {
  await mkdir(dirname(bundleFile), { recursive: true })
  const build = await rolldown({
    input: join(root, 'test/simulation/main.ts'),
    platform: 'node',
    external: (id) => !id.startsWith('.') && !id.startsWith('/'),
    plugins: [
      {
        name: 'lua-as-text',
        transform: (code, id) => (id.endsWith('.lua') ? { code: `export default ${JSON.stringify(code)}` } : undefined),
      },
    ],
    logLevel: 'silent',
  })
  await build.write({ file: bundleFile, format: 'esm', codeSplitting: false })
  await build.close()
}

await bundle()
const { planOf, runPlan } = await import(pathToFileURL(bundleFile).href)
const from = Number(process.argv[2] ?? 1)
const count = Number(process.argv[3] ?? 1)
const t = Date.now()
let bad = 0
for (let seed = from; seed < from + count; seed++) {
  const r = await runPlan(planOf(seed, process.argv[4]?.split(',').filter(Boolean)), { keepTrace: count === 1 })
  if (count === 1) console.log(r.lines.join('\n'))
  if (r.violations.length) { bad++; console.log(seed, r.virtualMs, r.requests, r.digest, r.violations.length, JSON.stringify(r.violations.slice(0, 3))) }
}
console.log({ bad, count, msPerSeed: (Date.now() - t) / count })
