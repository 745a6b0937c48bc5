import { InvalidArgumentError } from 'commander'
import { describe, expect, test } from 'vitest'
import { CliError } from '../../src/surfaces/cli/errors.js'
import * as parse from '../../src/surfaces/cli/parse.js'
import { simulateCommand } from '../../src/surfaces/cli/simulate.js'
import { PROFILE_NAMES } from '../../src/testing/index.js'
import { start } from './harness.js'

const profile = parse.oneOf('glm', 'deepseek', 'openai')

describe('what is accepted', () => {
  test.each<[(text: string) => unknown, string, unknown]>([
    [parse.durationOption, '200ms', 200],
    [parse.durationOption, '0', 0],
    [parse.durationOption, '1.5s', 1500],
    [parse.rateOption, '50/1m', { limit: 50, windowMs: 60_000 }],
    [parse.rateOption, ' 3 / 10s ', { limit: 3, windowMs: 10_000 }],
    [parse.countOption, '1', 1],
    [parse.countOption, '100000', 100_000],
    [parse.portOption, '0', 0],
    [parse.portOption, '65535', 65_535],
    [parse.shareOption, '0.25', 0.25],
    [parse.shareOption, '1', 1],
    [parse.ceilingOption, '5,2,1@30s', { values: [5, 2, 1], everyMs: 30_000 }],
    [parse.ceilingOption, '7@1m', { values: [7], everyMs: 60_000 }],
    [parse.errorRateOption, '0.01:1305', { share: 0.01, code: '1305' }],
    [parse.errorRateOption, '1:insufficient_quota', { share: 1, code: 'insufficient_quota' }],
    [profile, 'deepseek', 'deepseek'],
  ])('%o of %j', (parser, text, value) => {
    expect(parser(text)).toEqual(value)
  })
})

describe('what is refused says what was expected, and what came', () => {
  test.each<[(text: string) => unknown, string, readonly string[]]>([
    [parse.durationOption, "a duration such as '200ms'", ['', ' ', '50', 'soon', '-5', '-1s', '5 parsecs', 'NaN']],
    [parse.rateOption, "a rate such as '50/1m'", ['', '50', '50/', '/1m', '0/1m', '1.5/1m', '-1/1m', '50/0', '5/1m/2']],
    [parse.countOption, 'a whole number ≥ 1', ['', ' ', '0', '-1', '1.5', 'two', 'Infinity', '9007199254740993']],
    [parse.portOption, 'a port from 0 to 65535', ['', ' ', '-1', '65536', '80.5', 'http']],
    [parse.shareOption, 'a share above 0 and at most 1', ['', '0', '1.01', '-0.5', 'half', '50%']],
    [
      parse.ceilingOption,
      "ceilings and an interval such as '5,2,1@30s'",
      ['', '5', '5,2', '@30s', '5,,1@30s', '5,0@30s', '5,1.5@30s', '5@', '5@0', '5@soon', 'x@30s'],
    ],
    [parse.errorRateOption, "a share and a code such as '0.01:1305'", ['', '0.01', '0.01:', '1305']],
    [profile, 'one of glm, deepseek, openai', ['', 'GLM', 'anthropic']],
  ])('%o', (parser, expected, texts) => {
    for (const text of texts) {
      expect(() => parser(text)).toThrow(new InvalidArgumentError(`expected ${expected}, got "${text}"`))
      expect(() => parser(text)).toThrow(InvalidArgumentError)
    }
  })

  test('the share of an error rate is named by itself', () => {
    expect(() => parse.errorRateOption('2:1305')).toThrow('expected a share above 0 and at most 1, got "2"')
    expect(() => parse.errorRateOption(':1305')).toThrow('expected a share above 0 and at most 1, got ""')
  })
})

describe('headgate simulate', () => {
  /** Ends in an error each time, before anything listens. */
  async function run(...args: string[]) {
    let written = ''
    const writeErr = (text: string) => {
      written += text
    }
    const output = { writeOut: () => {}, writeErr }
    const command = simulateCommand().exitOverride().configureOutput(output)
    const error: unknown = await command.parseAsync(args, { from: 'user' }).then(
      () => undefined,
      (thrown) => thrown,
    )
    return { error, written }
  }

  test.each([
    ['--profile', 'x', `expected one of ${PROFILE_NAMES.join(', ')}, got "x"`],
    ['--keep-alive', 'x', `expected a duration such as '200ms', got "x"`],
    ['--window', 'x', 'expected one of sliding, fixed, token-bucket, per-second, got "x"'],
    ['--port', '70000', 'expected a port from 0 to 65535, got "70000"'],
    ['--requests', 'x', `expected a rate such as '50/1m', got "x"`],
    ['--tokens', '5', `expected a rate such as '50/1m', got "5"`],
    ['--concurrency', '0', 'expected a whole number ≥ 1, got "0"'],
    ['--latency', 'x', `expected a duration such as '200ms', got "x"`],
    ['--ceiling', '5', `expected ceilings and an interval such as '5,2,1@30s', got "5"`],
    ['--error-rate', '1', `expected a share and a code such as '0.01:1305', got "1"`],
    ['--seed', 'x', 'expected a whole number ≥ 1, got "x"'],
  ])('%s %s', async (flag, value, message) => {
    const { error, written } = await run(flag, value)
    expect(error).toMatchObject({ code: 'commander.invalidArgument' })
    expect(written).toMatch(/^error: option '--/)
    expect(written).toContain(`${flag} `)
    expect(written).toContain(`argument '${value}' is invalid. ${message}`)
  })

  test('an error code the profile does not have', async () => {
    const { error } = await run('--profile', 'deepseek', '--error-rate', '0.5:1305')
    expect(error).toBeInstanceOf(CliError)
    expect(error).toHaveProperty(
      'message',
      'DeepSeek code: expected one of 400, 401, 402, 422, 429, 500, 503, got 1305',
    )
  })

  test('a port in use', async () => {
    const { port } = await start('glm')
    const { error } = await run('--port', String(port))
    expect(error).toBeInstanceOf(CliError)
    expect(error).toHaveProperty('message', `port ${port} on 127.0.0.1 is in use`)
  })
})
