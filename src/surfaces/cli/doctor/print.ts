import type { outputColors } from '../terminal.js'
import type { Answer } from './answers.js'
import type { Check, Status } from './check.js'

type Colors = ReturnType<typeof outputColors>

const SIGNS: Readonly<Record<Status, string>> = { ok: 'ok', warning: 'warn', problem: 'FAIL', skipped: '-' }
const SIGN_WIDTH = 4
const MAX_TITLE = 28

export interface Report {
  readonly problems: number
  readonly warnings: number
  readonly checks: readonly Check[]
  readonly answers: readonly Answer[]
}

/** The report for people, `width` columns wide. */
export function renderReport({ checks, answers, problems, warnings }: Report, colors: Colors, width: number): string {
  const titleWidth = Math.min(MAX_TITLE, Math.max(...checks.map(({ title }) => title.length)))
  const indent = ' '.repeat(SIGN_WIDTH + titleWidth + 4)
  const lines = checks.flatMap(({ title, status, said, advice }) => {
    const sign = painted(status, colors)(SIGNS[status].padEnd(SIGN_WIDTH))
    const [first = '', ...rest] = wrap(said, width - indent.length)
    const advised = advice === undefined ? [] : wrap(advice, width - indent.length - 2)
    return [
      `${sign}  ${title.padEnd(titleWidth)}  ${first}`,
      ...rest.map((line) => indent + line),
      ...advised.map((line, index) => indent + (index === 0 ? colors.bold('→ ') : '  ') + colors.bold(line)),
    ]
  })
  for (const { question, because } of answers) {
    lines.push('', colors.bold(question))
    for (const reason of because) {
      lines.push(...wrap(reason, width - 4).map((line, index) => (index === 0 ? '  - ' : '    ') + line))
    }
  }
  const total = `${count(problems, 'problem')}, ${count(warnings, 'warning')}`
  const status = problems > 0 ? 'problem' : warnings > 0 ? 'warning' : 'ok'
  return `${lines.join('\n')}\n\n${painted(status, colors)(total)}\n`
}

function painted(status: Status, colors: Colors): (text: string) => string {
  if (status === 'problem') return (text) => colors.bold(colors.red(text))
  return { ok: colors.green, warning: colors.yellow, skipped: colors.dim }[status]
}

function count(amount: number, noun: string): string {
  return `${amount} ${noun}${amount === 1 ? '' : 's'}`
}

/** Breaks at spaces; a word that is longer than the line stays whole, so that it can be copied. */
function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines: string[] = []
    for (const word of paragraph.split(' ')) {
      const last = lines.at(-1)
      if (last === undefined || last.length + 1 + word.length > width) lines.push(word)
      else lines[lines.length - 1] = `${last} ${word}`
    }
    return lines
  })
}
