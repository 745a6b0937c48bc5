// The one command from a fresh clone: installs what is missing, runs the whole gate, ends with a line 'N passed, N failed'.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureInstalled, ensureTestTools, requireNode, run } from './setup.mjs'

requireNode()
ensureInstalled()
ensureTestTools()

const dir = mkdtempSync(join(tmpdir(), 'headgate-verify-'))
const resultsFile = join(dir, 'vitest.json')
try {
  const code = run('npm', ['run', '--silent', 'verify'], {
    env: { ...process.env, HEADGATE_TEST_RESULTS: resultsFile },
  })
  const { passed, failed } = readResults()
  if (code !== 0 && failed === 0) process.stdout.write('\nThe gate failed outside the tests: see above.\n')
  process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
  process.exitCode = code
} finally {
  rmSync(dir, { recursive: true, force: true })
}

function readResults() {
  let results
  try {
    results = JSON.parse(readFileSync(resultsFile, 'utf8'))
  } catch {
    // The gate stopped before the tests.
    return { passed: 0, failed: 0 }
  }
  // A file that broke before its first test has no failed test, and must not pass for a success.
  const broken = results.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
  )
  return { passed: results.numPassedTests, failed: results.numFailedTests + broken.length }
}
