import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const words = (count: number) => 'word '.repeat(count).trim()

const DEGRADED = { answer: '抱歉,系统繁忙,请稍后重试。', confidence: 0 }

// As a user runs them, on what is built.
test.each([
  ['base', { answer: '100 摄氏度', confidence: 0.98 }],
  [
    'chain-of-thought',
    { answer: '41', confidence: 0.6, steps: [/^第一步/, /^第二步/].map((step) => expect.stringMatching(step)) },
  ],
  [
    'react',
    {
      answer: '25.5 元',
      confidence: 0.95,
      calls: ['price_of({"item":"苹果"}) = 8.5', 'multiply({"a":8.5,"b":3}) = 25.5'],
    },
  ],
  ['graph-rag', { answer: '蜀郡太守', confidence: 0.92, facts: 4 }],
])('the reasoner %s answers, and says so when it can not', async (name, answer) => {
  const [good, bad] = await Promise.all(
    [[], ['--degraded']].map((flags) =>
      run(process.execPath, [`examples/reasoning/${name}.mjs`, ...flags], { env: { PATH: process.env.PATH } }),
    ),
  )
  expect(JSON.parse(good!.stdout)).toEqual(answer)
  expect(JSON.parse(bad!.stdout)).toEqual(DEGRADED)
  expect(good!.stderr + bad!.stderr).toBe('')
})

test.each([
  ['openai-sdk', ['8 answers', words(10)]],
  ['ai-sdk', [words(5), words(10), 'completed: 2']],
  ['langchain', ['5 answers', words(5)]],
])('the example %s runs as printed', async (name, lines) => {
  const { stdout, stderr } = await run(process.execPath, [`examples/${name}.mjs`], { env: { PATH: process.env.PATH } })
  for (const line of lines) expect(stdout).toContain(line)
  expect(stderr).toBe('')
})
