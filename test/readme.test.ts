import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

const run = promisify(execFile)
const readme = readFileSync('README.md', 'utf8')
const chinese = readFileSync('README.zh-CN.md', 'utf8')

describe('the README', () => {
  test('prints the quick start as it is, and it runs', async () => {
    const source = readFileSync('examples/quick-start.mjs', 'utf8').trimEnd()
    expect(readme).toContain(`\`\`\`js\n${source}\n\`\`\``)
    const { stdout } = await run(process.execPath, ['examples/quick-start.mjs'], { env: { PATH: process.env.PATH } })
    for (const line of ['waiting-for-token → calling (TOKEN_GRANTED)', 'actor: done', 'sum 42', 'completed: 4']) {
      expect(stdout).toContain(line)
    }
  })

  test.each(['demo', 'replay', 'simulate', 'serve', 'batch', 'doctor', 'top'])(
    'names every flag of %s',
    async (command) => {
      const { stdout } = await run(process.execPath, ['dist/cli.js', command, '--help'])
      const flags = [...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)]
        .map(([, flag]) => flag!)
        .filter((flag) => flag !== '--help')
      expect(flags.length).toBeGreaterThan(2)
      for (const flag of flags) {
        for (const text of [readme, chinese]) expect(text, `${command} ${flag}`).toContain(flag)
      }
    },
  )

  test('draws the request machine that there is', async () => {
    const { requestMachine } = await import('../machines/request-machine.js')
    const drawn = new Set(
      [...readme.matchAll(/^ {2}(\w+) --> (\w+): (.*)$/gm)].flatMap(([, from, to, events]) =>
        [...events!.matchAll(/\b[A-Z_]{4,}\b/g)].map(([event]) => `${from} ${event} ${to}`),
      ),
    )
    const actual = new Set<string>()
    for (const [name, node] of Object.entries(requestMachine.states)) {
      for (const transitions of node.transitions.values()) {
        for (const { eventType, target } of transitions) {
          // CANCEL leads everywhere to done and is said in words.
          if (eventType === 'CANCEL') expect(target?.[0]?.key).toBe('done')
          else actual.add(`${name} ${eventType} ${target?.[0]?.key}`.replaceAll('-', '_'))
        }
      }
    }
    expect(drawn).toEqual(actual)
  })
})

test('the Chinese README has the same code, and a row for every option, variable and route', () => {
  const codeOf = (text: string) => [...text.matchAll(/^```\w+\n.*?^```$/gms)].map(([block]) => block)
  expect(codeOf(chinese)).toEqual(codeOf(readme))
  const namesOf = (text: string) => {
    const rows = text.replace(/```.*?```/gs, '').matchAll(/^\| (`.*?) *\|/gm)
    return [...rows].flatMap(([, cell]) => [...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => name)).sort()
  }
  expect(namesOf(readme).length).toBeGreaterThan(40)
  expect(namesOf(chinese)).toEqual(namesOf(readme))
})
