import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const words = (count: number) => 'word '.repeat(count).trim()

// As a user runs them, on what is built.
test.each([
  ['openai-sdk', ['8 answers', words(10)]],
  ['ai-sdk', [words(5), words(10), 'completed: 2']],
  ['langchain', ['5 answers', words(5)]],
])('the example %s runs as printed', async (name, lines) => {
  const { stdout, stderr } = await run(process.execPath, [`examples/${name}.mjs`], { env: { PATH: process.env.PATH } })
  for (const line of lines) expect(stdout).toContain(line)
  expect(stderr).toBe('')
})
