// `headgate batch` killed again and again: `node bench/batch.mjs [--lines 100000] [--kills 5] [--bytes 0] [--latency 5ms]`,
// after a build. Lines of `--bytes 10000` make a file of 1 GB; what it took of memory is the highest of all runs.
// Prints one JSON object; what goes on is on stderr.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  createReadStream,
  createWriteStream,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { flags } from '../scripts/flags.mjs'

const CLI = fileURLToPath(new URL('../dist/cli.js', import.meta.url))
const LOOK_MS = 20
const MODEL = 'glm-4-plus'
const { lines, kills, bytes, latency } = flags({ lines: 100_000, kills: 5, bytes: 0, latency: '5ms' })
const dir = mkdtempSync(join(tmpdir(), 'headgate-batch-'))
const [input, output, config] = ['in.jsonl', 'out.jsonl', 'headgate.json'].map((name) => join(dir, name))
const children = new Set()
process.once('exit', () => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

function start(args, stdout) {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', stdout, 'inherit'] })
  children.add(child)
  child.once('exit', () => children.delete(child))
  return child
}

async function writeInput() {
  const file = createWriteStream(input)
  const filler = 'word '.repeat(Math.ceil(bytes / 5)).slice(0, bytes)
  for (let line = 0; line < lines; line++) {
    const body = { model: MODEL, max_tokens: 5, messages: [{ role: 'user', content: `line ${line} ${filler}` }] }
    const text = JSON.stringify({ custom_id: `line-${line}`, method: 'POST', url: '/v1/chat/completions', body })
    if (!file.write(`${text}\n`)) await once(file, 'drain')
  }
  file.end()
  await once(file, 'finish')
}

const sizeOf = (path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** The most it ever had, in MB, as Linux tells it. */
function peakMb(pid) {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024
  } catch {
    return 0
  }
}

/** One run; killed where the output reaches `killAt` bytes. */
async function run(killAt) {
  const child = start(['batch', input, '-o', output, '--config', config, '--json'], 'pipe')
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text
  })
  let mb = 0
  const timer = setInterval(() => {
    mb = Math.max(mb, peakMb(child.pid))
    if (sizeOf(output) >= killAt) child.kill('SIGKILL')
  }, LOOK_MS)
  const [code, signal] = await once(child, 'close')
  clearInterval(timer)
  return { code, signal, mb, stdout }
}

async function resultsOf() {
  const ids = new Set()
  let results = 0
  let answered = 0
  for await (const line of createInterface({ input: createReadStream(output) })) {
    const { custom_id, response } = JSON.parse(line)
    results++
    ids.add(custom_id)
    if (response?.status_code === 200) answered++
  }
  return { results, answered, distinct: ids.size, twice: results - ids.size }
}

const simulator = start(['simulate', '--latency', latency], 'pipe')
const [url] = await once(simulator.stdout.setEncoding('utf8'), 'data')
const baseURL = url.trim()
const pool = { provider: 'glm', apiKey: 'any', baseURL, adaptive: false }
writeFileSync(config, JSON.stringify({ pools: { [MODEL]: pool } }))
await writeInput()
process.stderr.write(`${lines} lines, ${Math.round(sizeOf(input) / 1e6)} MB\n`)

const startMs = performance.now()
let peak = 0
let killed = 0
// A result of the simulator is about so long.
const resultBytes = 480
for (let kill = 1; kill <= kills; kill++) {
  const { signal, mb } = await run(((kill * lines) / (kills + 1)) * resultBytes)
  if (signal === 'SIGKILL') killed++
  peak = Math.max(peak, mb)
  process.stderr.write(`killed at ${sizeOf(output)} bytes of results\n`)
}
const last = await run(Number.POSITIVE_INFINITY)
const seconds = (performance.now() - startMs) / 1000
const { requests } = await (await fetch(new URL('/__sim/report', baseURL))).json()
const figures = {
  lines,
  inputMb: Math.round(sizeOf(input) / 1e6),
  killed,
  exitCode: last.code,
  ...(await resultsOf()),
  repeatedCalls: requests - lines,
  seconds: Math.round(seconds),
  linesPerSecond: Math.round(lines / seconds),
  peakMb: Math.round(Math.max(peak, last.mb)),
}
process.stdout.write(`${JSON.stringify(figures)}\n`)
process.exit(figures.results === lines && figures.twice === 0 && figures.answered === lines ? 0 : 1)
