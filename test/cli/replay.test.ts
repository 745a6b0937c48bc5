import { describe, expect, it } from 'vitest'
import { generateTrace, traceCsv } from '../../src/surfaces/cli/replay/generate.js'
import { fileOf, runCli, startCli } from './cli.js'

const MINUTE_MS = 60_000
const BURSTY = generateTrace({
  seed: 7,
  durationMs: 1.5 * MINUTE_MS,
  perMinute: 25,
  bursts: { everyMs: 20_000, sizes: [10, 14], spreadMs: 500 },
})
const LIMITS = ['--requests', '50/1m', '--tokens', '200000/1m', '--concurrency', '5', '--latency', '1s']
const HEADER = 'TIMESTAMP,ContextTokens,GeneratedTokens'

const number = expect.any(Number)
const MODE = {
  requests: BURSTY.length,
  completed: number,
  degraded: 0,
  failed: number,
  provider429: {},
  worstWindowRatio: number,
  utilisation: number,
  addedLatencyMs: { mean: number, p50: number, p99: number },
}

describe('headgate replay', () => {
  it('keeps a bursty trace inside the limits, where unprotected callers are refused', async () => {
    const trace = await fileOf('trace.csv', traceCsv(BURSTY))
    const args = ['replay', trace, ...LIMITS, '--processes', '1', '--speed', '20', '--compare', '--json']
    const { code, stdout, stderr } = await runCli(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('50 requests per 1 min') })
    expect(stdout.trimEnd().split('\n')).toHaveLength(1)
    const { governed, unprotected, ...rest } = JSON.parse(stdout)
    expect(rest).toEqual({})
    expect(governed).toEqual({ ...MODE, completed: BURSTY.length, failed: 0 })
    expect(governed.worstWindowRatio).toBeLessThanOrEqual(1)
    expect(governed.worstWindowRatio).toBeGreaterThan(0.5)
    expect(unprotected).toEqual({ ...MODE, provider429: { 1302: number } })
    expect(unprotected.completed + unprotected.failed).toBe(BURSTY.length)
  })

  it('ends with a table, takes limits from a config and stops after --limit-rows', async () => {
    const trace = await fileOf('trace.csv', traceCsv(BURSTY))
    const config = await fileOf(
      'headgate.json',
      JSON.stringify({ pools: { 'deepseek-chat': { provider: 'deepseek', limits: { requests: '70/1m' } } } }),
    )
    const args = ['replay', trace, '--config', config, '--processes', '1', '--speed', '60', '--limit-rows', '9']
    const { code, stdout, stderr } = await runCli(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining('70 requests per 1 min\n') })
    expect(stdout).toMatch(/^┌/)
    expect(stdout).toMatch(/│ requests +│ +9 │/)
    expect(stdout).toMatch(/│ success +│ +100.00 % │/)
    expect(stdout).toMatch(/│ worst sliding window, of the limit +│ +\d/)
  })

  it('counts requests that no limit will ever let through as failed', async () => {
    const trace = await fileOf('trace.csv', `${HEADER}\n2024-01-01 00:00:00,900,200\n2024-01-01 00:00:01,90,20\n`)
    const args = ['replay', trace, '--tokens', '1000/1m', '--processes', '1', '--speed', '20', '--json']
    const { stdout, stderr } = await runCli(args)
    expect(JSON.parse(stdout).governed).toMatchObject({ requests: 2, completed: 1, failed: 1, provider429: {} })
    expect(stderr).toContain("requests of up to 1100 LLM tokens can't pass a limit of 1000: they fail")
  })

  it('stops its children when it is interrupted', async () => {
    const trace = await fileOf('trace.csv', traceCsv(BURSTY))
    const { child, output, ended } = startCli(['replay', trace, ...LIMITS, '--processes', '1'])
    await expect.poll(() => output.stderr, { timeout: 30_000 }).toContain('store:')
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 130, stdout: '' })
    const groupIsGone = () => {
      try {
        return !process.kill(-child.pid!, 0)
      } catch {
        return true
      }
    }
    await expect.poll(groupIsGone, { timeout: 10_000 }).toBe(true)
  })
})

describe('what replay refuses', () => {
  const row = '2023-11-16 18:17:03.9799600,4808,10'
  it.each([
    [
      'a count',
      `${HEADER}\r\n${row}\r\n${row.replace('4808', 'many')}\r\n`,
      ':3: expected ContextTokens as a whole number ≥ 0, got "many"',
    ],
    [
      'a timestamp',
      `${HEADER}\n${row.replace('11-16', '02-31')}\n`,
      ':2: expected a TIMESTAMP such as \'2023-11-16 18:17:03.9799600\', got "2023-02-31 18:17:03.9799600"',
    ],
    [
      'a short row',
      `${HEADER}\n${row}\n\n2023-11-16 18:17:04\n`,
      ':4: expected 3 columns: TIMESTAMP, ContextTokens, GeneratedTokens, got "2023-11-16 18:17:04"',
    ],
    [
      'time that runs back',
      `${HEADER}\n${row}\n${row.replace(':03.', ':02.')}\n`,
      ':3: expected a TIMESTAMP not before the previous row, got "2023-11-16 18:17:02.9799600"',
    ],
    [
      'another header',
      `time,tokens\n${row}\n`,
      ':1: expected a header with the columns TIMESTAMP, ContextTokens, GeneratedTokens, got "time,tokens"',
    ],
    ['no rows', `${HEADER}\n`, ': the trace has no rows'],
  ])('%s', async (_, text, message) => {
    const trace = await fileOf('trace.csv', text)
    expect(await runCli(['replay', trace])).toEqual({ code: 1, stdout: '', stderr: `headgate: ${trace}${message}\n` })
  })

  it('a file that is not there', async () => {
    const stderr = "headgate: nowhere.csv: can't be read: no such file\n"
    expect(await runCli(['replay', 'nowhere.csv'])).toEqual({ code: 1, stdout: '', stderr })
  })

  it.each([
    [['--requests', '50'], `expected a rate such as '50/1m', got "50"`],
    [['--requests', '0/1m'], `expected a rate such as '50/1m', got "0/1m"`],
    [['--speed', '0'], 'expected a number above 0, got "0"'],
    [['--kill-at', '2'], 'expected a share above 0 and at most 1, got "2"'],
    [['--bogus'], "unknown option '--bogus'"],
  ])('%j, as bad usage', async (flags, message) => {
    const { code, stdout, stderr } = await runCli(['replay', 'trace.csv', ...flags])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^headgate: /)
    expect(stderr).toContain(message)
  })

  it('several processes without a shared store', async () => {
    const trace = await fileOf('trace.csv', `${HEADER}\n${row}\n`)
    const { code, stderr } = await runCli(['replay', trace, '--speed', '20'], { PATH: '' })
    expect(code).toBe(1)
    expect(stderr).toContain(
      'headgate: replay --processes 4 needs a shared store: set REDIS_URL or install redis-server, or use --processes 1\n',
    )
  })

  it('a Redis that does not answer, without its password', async () => {
    const trace = await fileOf('trace.csv', `${HEADER}\n${row}\n`)
    const env = { REDIS_URL: 'redis://:hush@127.0.0.1:1/0' }
    const { code, stdout, stderr } = await runCli(['replay', trace, '--processes', '2', '--speed', '20'], env)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('Redis at 127.0.0.1:1')
    expect(stderr).not.toContain('hush')
  })
})

describe('headgate', () => {
  it('tells its version and its commands on stdout', async () => {
    expect(await runCli(['--version'])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    })
    const { stdout } = await runCli(['--help'])
    for (const command of ['serve', 'batch', 'replay', 'simulate', 'demo']) expect(stdout).toContain(`\n  ${command} `)
  })

  it('refuses a command it does not have', async () => {
    const { code, stdout, stderr } = await runCli(['irrigate'])
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: "headgate: unknown command 'irrigate'\n" })
  })
})
