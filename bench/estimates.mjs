// How far estimates of LLM tokens are off, by kind of text: `node bench/estimates.mjs [--json]`. The truth is gpt-tokenizer's
// o200k_base. Each kind gives 400 pieces of 100 to 4,000 characters: the first half is learned from, the second judged.
import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { bundle } from '../scripts/bundle.mjs'
import { flags } from '../scripts/flags.mjs'
import { CHINESE } from './texts.mjs'

const { json } = flags({ json: false })
const PIECES = 400
const [LEAST, MOST] = [100, 4_000]

const outDir = await bundle({
  estimate: 'src/providers/estimate.ts',
  calibration: 'src/providers/calibration.ts',
  tokenizer: 'src/providers/tokenizer.ts',
})
const load = (name) => import(pathToFileURL(join(outDir, `${name}.js`)).href)
const { tokensByChars } = await load('estimate')
const { Calibration } = await load('calibration')
const { Tokenizers } = await load('tokenizer')

const before = { rss: process.memoryUsage().rss, ms: performance.now() }
const { countTokens } = await import('gpt-tokenizer/encoding/o200k_base')
const exact = (text) => countTokens(text, { disallowedSpecial: new Set() })
exact('warm')
const cost = { loadMs: performance.now() - before.ms, rssMb: (process.memoryUsage().rss - before.rss) / 1e6 }
const tokenizers = new Tokenizers()
await tokenizers.load('gpt-4')
await tokenizers.load('gpt-4o')
const byOther = tokenizers.counterOf('gpt-4') // cl100k_base: as good as one vendor's tokenizer is for another's model
const byPieces = tokenizers.counterOf('gpt-4o')

/** Mulberry32. */
function randomOf(seed) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

function piecesOf(text) {
  const random = randomOf(1)
  return Array.from({ length: PIECES }, () => {
    const length = Math.min(text.length, Math.round(LEAST * (MOST / LEAST) ** random()))
    const from = Math.floor(random() * (text.length - length + 1))
    return text.slice(from, from + length)
  })
}

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const prose = read('README.md')
  .replace(/```[\s\S]*?```/g, '')
  .replace(/^\|.*$/gm, '')
const sources = (await readdir('src', { recursive: true })).filter((name) => name.endsWith('.ts')).sort()
const KINDS = {
  English: prose,
  Chinese: CHINESE,
  JSON: read('package-lock.json').slice(0, 200_000),
  code: sources.map((name) => read(`src/${name}`)).join('\n'),
}

const quantile = (values, share) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))]
const percent = (share) => Math.round(share * 1000) / 10

/** Errors in % of the truth; `under` is how far the estimate is below it, at the 95th of 100 pieces. */
function errorsOf(pieces, count) {
  const errors = pieces.map((text) => count(text) / exact(text) - 1)
  return {
    mean: percent(errors.reduce((sum, error) => sum + error, 0) / errors.length),
    median: percent(quantile(errors, 0.5)),
    p95Under: percent(Math.max(0, -quantile(errors, 0.05))),
  }
}

function calibrated(learned, count) {
  const calibration = new Calibration()
  for (const text of learned) {
    const usage = { promptTokens: exact(text), completionTokens: 0, totalTokens: exact(text) }
    calibration.observe({ promptTokens: count(text), capped: true }, usage)
  }
  return (text) => Math.ceil(count(text) * calibration.promptFactor)
}

const table = Object.entries(KINDS).map(([kind, text]) => {
  const pieces = piecesOf(text)
  const [learned, judged] = [pieces.slice(0, PIECES / 2), pieces.slice(PIECES / 2)]
  return {
    kind,
    chars: errorsOf(judged, tokensByChars),
    charsCalibrated: errorsOf(judged, calibrated(learned, tokensByChars)),
    otherTokenizer: errorsOf(judged, byOther),
    otherCalibrated: errorsOf(judged, calibrated(learned, byOther)),
    gptTokenizer: errorsOf(judged, byPieces),
  }
})

if (json) process.stdout.write(`${JSON.stringify({ cost, table })}\n`)
else {
  const cell = ({ mean, median, p95Under }) => `${mean} / ${median} / ${p95Under}`
  const columns = ['chars', 'charsCalibrated', 'otherTokenizer', 'otherCalibrated', 'gptTokenizer']
  console.log(
    `mean / median / p95 under, in % of the truth; gpt-tokenizer: ${Math.round(cost.loadMs)} ms, ${Math.round(cost.rssMb)} MB`,
  )
  console.log(`| text | ${columns.join(' | ')} |`)
  console.log(`| --- | ${columns.map(() => '---').join(' | ')} |`)
  for (const { kind, ...row } of table)
    console.log(`| ${kind} | ${columns.map((name) => cell(row[name])).join(' | ')} |`)
}
