// Writes what `npm run bench -- --json` measured into docs/performance.md and the plots beside it:
//   npm run --silent bench -- limit slots --json > FILE && node bench/report.mjs FILE …
// Runs of one question in several files count together, and take the place of those in docs/performance.json; without a file
// the same figures are written again.
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { flags } from '../scripts/flags.mjs'
import { median } from './median.mjs'
import { installPeers } from './peers/install.mjs'
import { plots } from './peers/plots.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const DATA = new URL('../docs/performance.json', import.meta.url)
const PAGE = new URL('../docs/performance.md', import.meta.url)
const IMAGES = new URL('../docs/images/', import.meta.url)
const BLOCK = /(<!-- bench: (\S+) -->\n)[\s\S]*?(<!-- \/bench -->)/g

const parse = async (path) => JSON.parse(await readFile(path, 'utf8'))

/** By question: machine, meaning, and the runs of each row. */
function gather(files) {
  const questions = {}
  for (const { machine, results } of files) {
    for (const { name, what, meaning, overrun, cases } of results) {
      const rows = questions[name]?.rows ?? {}
      for (const { name: row, side, runs } of cases) rows[row] = { side, runs: [...(rows[row]?.runs ?? []), ...runs] }
      questions[name] = { machine, what, meaning, ...(overrun && { overrun }), rows }
    }
  }
  return questions
}

function short(value) {
  const size = Math.abs(value)
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3
  return value.toLocaleString('en-US', { maximumFractionDigits: digits })
}

function cell(runs, metric) {
  const values = runs.map((run) => run[metric]).filter((value) => typeof value === 'number')
  if (values.length === 0) return ''
  const [least, most] = [short(Math.min(...values)), short(Math.max(...values))]
  return least === most ? least : `${short(median(values))} (${least} to ${most})`
}

function tableOf({ machine, what, meaning, overrun, rows }) {
  const entries = Object.entries(rows)
  const metrics = Object.keys(meaning).filter((metric) => entries.some(([, { runs }]) => metric in runs[0]))
  const lines = entries.map(([name, { side, runs }]) => {
    const broken = overrun && runs.some((run) => run[overrun] > 1)
    const label = side === 'limit' ? `*${name}*` : side === 'headgate' ? `**${name}**` : name
    const cells = metrics.map((metric) =>
      broken && metric === overrun ? `✗ ${cell(runs, metric)}` : cell(runs, metric),
    )
    return [label, ...cells]
  })
  const [fewest, most] = [Math.min, Math.max].map((of) => of(...entries.map(([, { runs }]) => runs.length)))
  const counted =
    most === 1 ? 'one run' : fewest === most ? `median of ${most} runs` : `median of ${fewest} to ${most} runs`
  return [
    `${what}; ${counted}, ${machine.date.slice(0, 10)}.`,
    '',
    ...markdown([['', ...metrics], ...lines]),
    '',
    ...metrics.map((metric) => `- \`${metric}\`: ${meaning[metric]}`),
    ...(overrun ? ['- ✗: broke the limit in at least one run'] : []),
  ].join('\n')
}

function markdown([head, ...rows]) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, column) => (column === 0 ? '---' : '---:'))), ...rows.map(line)]
}

async function machineOf(questions) {
  const { machine } = Object.values(questions)
    .toSorted((a, b) => a.machine.date.localeCompare(b.machine.date))
    .at(-1)
  const { dependencies } = await parse(new URL('./peers/package.json', import.meta.url))
  const root = (await parse(new URL('../package.json', import.meta.url))).dependencies
  const peers = { ...dependencies, 'p-queue': root['p-queue'] }
  const drawn = /^vega|^@upstash\/redis$/
  const versions = Object.keys(peers)
    .filter((name) => !drawn.test(name))
    .toSorted()
    .map((name) => `${name} ${peers[name]}`)
  const { cpu, cores, memoryGiB, node, redis, os } = machine
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${os}, Node ${node}, Redis ${redis}. Peers: ${versions.join(', ')}.`
}

const files = await Promise.all(flags({}, '[FILE …]').names.map(parse))
const known = await parse(DATA).catch((error) => {
  if (error.code === 'ENOENT') return {}
  throw error
})
const questions = { ...known, ...gather(files) }
await writeFile(DATA, `${JSON.stringify(questions, null, 1)}\n`)

const machine = await machineOf(questions)
const page = await readFile(PAGE, 'utf8')
const written = page.replace(BLOCK, (block, open, name, close) => {
  if (name === 'machine') return `${open}\n${machine}\n\n${close}`
  return questions[name] ? `${open}\n${tableOf(questions[name])}\n\n${close}` : block
})
await writeFile(PAGE, written)
for (const [name, svg] of Object.entries(await plots(await installPeers(ROOT), questions))) {
  await writeFile(new URL(`performance-${name}.svg`, IMAGES), svg)
}
