#!/usr/bin/env node
// Runs the deterministic simulation of test/simulation. A seed that violates an invariant is named, with the first of what
// went wrong; `--seed N` replays one, shrunk to a short schedule, as a timeline. Exits 1 if any failed.
//
//   node scripts/simulate.mjs --seeds 10000 [--from 1] [--workers 2] [--faults crash,flush] [--redis] [--json]
//   node scripts/simulate.mjs --seed 42 [--faults …] [--redis] [--whole]
//
// With --redis the store is the Lua in a real redis-server of its own, on virtual time.
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { bundle } from './bundle.mjs'

const PROGRESS_MS = 1_000

async function work({ file, kinds, redis }) {
  const { planOf, run, startRedisServer } = await import(pathToFileURL(file).href)
  const server = redis ? await startRedisServer() : undefined
  parentPort.on('message', async (seed) => {
    if (seed === undefined) {
      await server?.stop()
      process.exit()
    }
    const { violations, virtualMs, requests, faults } = await run(planOf(seed, kinds), server?.url)
    parentPort.postMessage({
      seed,
      violations: violations.slice(0, 5),
      count: violations.length,
      virtualMs,
      requests,
      faults,
    })
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
function runAll(file, { seeds, from, workers, kinds, redis }) {
  return new Promise((resolve, reject) => {
    const failures = []
    const totals = { virtualMs: 0, requests: 0, faults: 0 }
    const startedMs = Date.now()
    let next = from
    let done = 0
    const crew = Array.from(
      { length: workers },
      () =>
        new Worker(fileURLToPath(import.meta.url), {
          workerData: { file, kinds, redis },
          // Most of what a run allocates dies with the run: a large nursery halves its time.
          resourceLimits: { maxYoungGenerationSizeMb: 128 },
        }),
    )
    const timer = setInterval(() => progress(done, seeds, failures.length, startedMs), PROGRESS_MS)
    const feed = (worker) => {
      if (next < from + seeds) worker.postMessage(next++)
    }
    for (const worker of crew) {
      worker.on('error', reject)
      worker.on('message', (result) => {
        done++
        for (const key of Object.keys(totals)) totals[key] += result[key]
        if (result.count > 0) {
          failures.push(result)
          // At once: a long run may be stopped before its end.
          process.stderr.write(`\n${told(result)}\n`)
        }
        if (done < seeds) return feed(worker)
        clearInterval(timer)
        progress(done, seeds, failures.length, startedMs)
        process.stderr.write('\n')
        for (const each of crew) each.postMessage(undefined)
        resolve({ failures, totals, seconds: (Date.now() - startedMs) / 1000 })
      })
      feed(worker)
    }
  })
}

function told({ seed, violations, count }) {
  const [{ invariant, name, atMs, message }] = violations
  return `seed ${seed}: invariant ${invariant} (${name}) at ${Math.round(atMs)} ms: ${message} (${count} in all)`
}

function asked() {
  const options = {
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    workers: { type: 'string', default: String(Math.min(2, availableParallelism())) },
    seed: { type: 'string' },
    faults: { type: 'string' },
    redis: { type: 'boolean', default: false },
    whole: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  }
  try {
    return parseArgs({ options }).values
  } catch (error) {
    console.error(error.message)
    process.exit(2)
  }
}

function checkKinds(kinds, known) {
  const unknown = kinds?.filter((kind) => !known.includes(kind)) ?? []
  if (unknown.length === 0) return
  console.error(`--faults: expected some of ${known.join(', ')}, got ${unknown.join(', ')}`)
  process.exit(2)
}

async function main() {
  const values = asked()
  const kinds = values.faults?.split(',').filter(Boolean)
  const file = join(await bundle({ main: 'test/simulation/main.ts' }), 'main.js')
  const { explain, FAULT_KINDS, planOf, run, startRedisServer } = await import(pathToFileURL(file).href)
  checkKinds(kinds, FAULT_KINDS)
  if (values.seed !== undefined) {
    const seed = numberOf(values.seed, 'seed')
    const server = values.redis ? await startRedisServer() : undefined
    if (values.whole) console.log((await run(planOf(seed, kinds), server?.url, true)).lines.join('\n'))
    else console.log(await explain(seed, kinds, server?.url))
    await server?.stop()
    return
  }
  const seeds = numberOf(values.seeds, 'seeds', 1)
  const workers = Math.min(seeds, numberOf(values.workers, 'workers', 1))
  const { failures, totals, seconds } = await runAll(file, {
    seeds,
    from: numberOf(values.from, 'from'),
    workers,
    kinds,
    redis: values.redis,
  })
  failures.sort((a, b) => a.seed - b.seed)
  if (values.json)
    console.log(
      JSON.stringify({
        seeds,
        failed: failures.length,
        seconds,
        seedsPerSecond: seeds / seconds,
        ...totals,
        failures,
      }),
    )
  else {
    for (const failure of failures) console.log(told(failure))
    console.log(
      `${seeds} seeds, ${failures.length} failed, ${(seeds / seconds).toFixed(1)} seeds/s, ${Math.round(totals.virtualMs / 1000)} virtual s`,
    )
  }
  if (failures.length > 0) process.exitCode = 1
}

if (isMainThread) await main()
else await work(workerData)
