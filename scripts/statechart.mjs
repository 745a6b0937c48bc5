// Writes the layout of the request machine that the dashboard draws; a test says when it is out of date.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { bundle } from './bundle.mjs'
import { layoutOf } from './statechart-layout.mjs'

const FILE = fileURLToPath(new URL('../src/surfaces/dashboard/page/statechart.json', import.meta.url))

const { requestMachine } = await import(
  pathToFileURL(join(await bundle({ machines: 'machines/index.ts' }), 'machines.js')).href
)
writeFileSync(FILE, `${JSON.stringify(await layoutOf(requestMachine), null, 2)}\n`)
spawnSync('npx', ['biome', 'format', '--write', FILE], { stdio: 'inherit' })
