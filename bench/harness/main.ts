import { parseArgs } from 'node:util'
import { QUESTIONS } from '../questions/index.js'
import { machine } from './machine.js'
import { type Asked, measure } from './measure.js'
import { print } from './table.js'
import { understood } from './understood.js'

const HELP = `npm run bench [-- NAME …] [flags]

  NAME            a question, or QUESTION/PART for those of its cases whose name contains PART; none: all
  --quick         one short run a case, fewer sizes
  --runs N        runs a case, in turn with the others (default 3)
  --seconds N     how long a steady state is measured (default 5)
  --trace FILE    a trace for the question \`trace\`
  --json          one JSON object instead of tables
  --profile DIR   write a CPU profile of each process there

`

/** Measures what was named; returns the exit code: 1 when a goal was missed, 2 for words that are none of the bench's. */
export async function main(args: readonly string[], at: Pick<Asked, 'root' | 'worker' | 'peers'>): Promise<number> {
  const wanted = understood(() => parse(args))
  if (!wanted) return 2
  const { help, chosen, json, asked } = wanted
  if (help) {
    const list = QUESTIONS.map(({ name, what }) => `  ${name.padEnd(14)}  ${what}`).join('\n')
    process.stdout.write(`${HELP}${list}\n`)
    return 0
  }
  const results = []
  for (const { question, part } of chosen) {
    const result = await measure(question, part, { ...at, ...asked })
    results.push(result)
    if (!json) print(result)
  }
  if (json) process.stdout.write(`${JSON.stringify({ machine: machine(), results }, null, 2)}\n`)
  return results.every(({ goals }) => goals.every(({ met }) => met !== false)) ? 0 : 1
}

function parse(args: readonly string[]) {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      runs: { type: 'string' },
      seconds: { type: 'string' },
      trace: { type: 'string' },
      profile: { type: 'string' },
    },
  })
  const { help, quick, json, trace, profile } = values
  const runs = number('--runs', values.runs, quick ? 1 : 3)
  const seconds = number('--seconds', values.seconds, quick ? 1 : 5)
  return { help, chosen: choose(positionals), json, asked: { quick, runs, seconds, trace, profile } }
}

function number(flag: string, text: string | undefined, standard: number): number {
  if (text === undefined) return standard
  const value = Number(text)
  if (!(value > 0)) throw new Error(`${flag}: expected a number above 0, got ${text}`)
  return value
}

function choose(names: readonly string[]) {
  if (names.length === 0) return QUESTIONS.map((question) => ({ question, part: '' }))
  return names.map((name) => {
    const [first = '', ...rest] = name.split('/')
    const question = QUESTIONS.find((its) => its.name === first)
    if (!question)
      throw new Error(`expected a question of ${QUESTIONS.map((its) => its.name).join(', ')}, got ${first}`)
    return { question, part: rest.join('/') }
  })
}
