#!/usr/bin/env node
// Runs the deterministic simulation of test/simulation. A seed that violates an invariant is named, with the first of what
// went wrong; `--seed N` replays one, shrunk to a short schedule, as a timeline. Exits 1 if any failed.
//
//   node scripts/simulate.mjs --seeds 10000 [--from 1] [--workers 2] [--faults crash,flush] [--json]
//   node scripts/simulate.mjs --seed 42 [--faults …] [--whole]
import { mkdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const PROGRESS_MS = 1_000

/** The simulation as one file that Node runs; packages stay where they are. */
async function bundle() {
  const { rolldown } = await import('rolldown')
  const file = join(root, 'node_modules', '.cache', 'headgate-simulation', `main-${process.pid}.mjs`)
  await mkdir(dirname(file), { recursive: true })
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
  await build.write({ file, format: 'esm', codeSplitting: false })
  await build.close()
  return file
}

async function work({ file, kinds }) {
  const { planOf, runPlan } = await import(pathToFileURL(file).href)
  parentPort.on('message', async (seed) => {
    const { violations, virtualMs, requests, faults } = await runPlan(planOf(seed, kinds))
    parentPort.postMessage({ seed, violations: violations.slice(0, 5), count: violations.length, virtualMs, requests, faults })
  })
}

function numberOf(text, name, least = 0) {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= least) return value
  console.error(`--${name}: expected a whole number ≥ ${least}, got ${JSON.stringify(text)}`)
  process.exit(2)
}

function progress(done, seeds, failed, startedMs) {
  const seconds = (Date.now() - startedMs) / 1000
  const rate = done / seconds
  const eta = rate > 0 ? Math.ceil((seeds - done) / rate) : 0
  const line = `${done}/${seeds} seeds, ${failed} failed, ${rate.toFixed(1)} seeds/s, ${eta} s left`
  process.stderr.write(process.stderr.isTTY ? `\r${line}   ` : `${line}\n`)
}

/** Runs all seeds, a few ahead for each worker. */
function runAll(file, { seeds, from, workers, kinds }) {
  return new Promise((resolve, reject) => {
    const failures = []
    const totals = { virtualMs: 0, requests: 0, faults: 0 }
    const startedMs = Date.now()
    let next = from
    let done = 0
    const crew = Array.from({ length: workers }, () => new Worker(fileURLToPath(import.meta.url), {
      workerData: { file, kinds },
      // Most of what a run allocates dies with the run: a large nursery halves its time.
      resourceLimits: { maxYoungGenerationSizeMb: 128 },
    }))
    const timer = setInterval(() => progress(done, seeds, failures.length, startedMs), PROGRESS_MS)
    const feed = (worker) => {
      if (next < from + seeds) worker.postMessage(next++)
    }
    for (const worker of crew) {
      worker.on('error', reject)
      worker.on('message', (result) => {
        done++
        for (const key of Object.keys(totals)) totals[key] += result[key]
        if (result.count > 0) failures.push(result)
        if (done < seeds) return feed(worker)
        clearInterval(timer)
        progress(done, seeds, failures.length, startedMs)
        process.stderr.write('\n')
        for (const each of crew) void each.terminate()
        resolve({ failures, totals, seconds: (Date.now() - startedMs) / 1000 })
      })
      feed(worker)
    }
  })
}

async function main() {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '200' },
      from: { type: 'string', default: '1' },
      workers: { type: 'string', default: String(Math.min(2, availableParallelism())) },
      seed: { type: 'string' },
      faults: { type: 'string' },
      whole: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  })
  const kinds = values.faults?.split(',').filter(Boolean)
  const file = await bundle()
  try {
    if (values.seed !== undefined) {
      const { explain, planOf, runPlan } = await import(pathToFileURL(file).href)
      const seed = numberOf(values.seed, 'seed')
      if (values.whole) console.log((await runPlan(planOf(seed, kinds), { keepTrace: true })).lines.join('\n'))
      else console.log(await explain(seed, kinds))
      return
    }
    const seeds = numberOf(values.seeds, 'seeds', 1)
    const workers = Math.min(seeds, numberOf(values.workers, 'workers', 1))
    const { failures, totals, seconds } = await runAll(file, { seeds, from: numberOf(values.from, 'from'), workers, kinds })
    failures.sort((a, b) => a.seed - b.seed)
    if (values.json) console.log(JSON.stringify({ seeds, failed: failures.length, seconds, seedsPerSecond: seeds / seconds, ...totals, failures }))
    else {
      for (const { seed, violations, count } of failures) {
        const [{ invariant, name, atMs, message }] = violations
        console.log(`seed ${seed}: invariant ${invariant} (${name}) at ${Math.round(atMs)} ms: ${message} (${count} in all)`)
      }
      console.log(`${seeds} seeds, ${failures.length} failed, ${(seeds / seconds).toFixed(1)} seeds/s, ${Math.round(totals.virtualMs / 1000)} virtual s`)
    }
    if (failures.length > 0) process.exitCode = 1
  } finally {
    await rm(file, { force: true })
  }
}

if (isMainThread) await main()
else await work(workerData)
