import { appendFile, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/testing/index.js'
import { fileOf, runCli, startCli } from './cli.js'

interface Result {
  readonly id: string
  readonly custom_id: string | null
  readonly response: { status_code: number; request_id: string; body: Record<string, unknown> } | null
  readonly error: { code: string; message: string } | null
}

async function simulatorOf(options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const simulator = await startSimulator({ profile: 'glm', ...options })
  onTestFinished(() => simulator.close())
  return simulator
}

const poolOf = ({ baseURL }: Simulator, more: object = {}) => ({
  provider: 'glm',
  apiKey: 'a-key-of-nobody',
  baseURL,
  adaptive: false,
  ...more,
})

const configOf = (pools: object) => fileOf('headgate.json', JSON.stringify({ pools }))
const lineOf = (customId: string, more: object = {}, url = '/v1/chat/completions') =>
  JSON.stringify({
    custom_id: customId,
    method: 'POST',
    url,
    body: { model: 'glm-4-plus', max_tokens: 3, messages: [{ role: 'user', content: `hello ${customId}` }], ...more },
  })
const manyLines = (count: number) =>
  Array.from({ length: count }, (_, index) => `${lineOf(`line-${index}`)}\n`).join('')

const linesIn = async (path: string) => (await readFile(path, 'utf8').catch(() => '')).split('\n').length - 1
async function resultsIn(path: string): Promise<Result[]> {
  const text = await readFile(path, 'utf8')
  expect(text.endsWith('\n')).toBe(true)
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
}

describe('headgate batch', () => {
  it('leaves no output where Redis can not be reached', async () => {
    const pools = { 'glm-4-plus': { provider: 'glm', apiKey: 'a-key' } }
    const config = await fileOf('headgate.json', JSON.stringify({ redis: 'redis://127.0.0.1:1', pools }))
    const input = await fileOf('in.jsonl', `${lineOf('one')}\n`)
    const { code, stderr } = await runCli(['batch', input, '-o', `${input}.out`, '--config', config])
    expect(code).toBe(1)
    expect(stderr).toContain('127.0.0.1:1')
    expect(await readdir(dirname(input))).toEqual(['in.jsonl'])
  })

  it("answers OpenAI's batch file line by line, and says of every bad line what is wrong with it", async () => {
    const simulator = await simulatorOf()
    const claude = await simulatorOf({ profile: 'anthropic' })
    simulator.failNext('1210') // the first call's parameters
    const config = await configOf({
      'glm-4-plus': poolOf(simulator, { queue: { maxActive: 1 } }),
      'claude-haiku-4-5': { provider: 'anthropic', apiKey: 'a-key', baseURL: claude.baseURL },
    })
    const input = await fileOf(
      'in.jsonl',
      [
        `\uFEFF${lineOf('refused')}`,
        lineOf('answered'),
        '{"custom_id": "torn", ',
        `${lineOf('with a carriage return')}\r`,
        '  ',
        '[]',
        JSON.stringify({ method: 'POST', url: '/v1/chat/completions', body: {} }),
        lineOf('answered', { max_tokens: 4 }),
        lineOf('other-model', { model: 'gpt-9' }),
        lineOf('other-url', {}, '/v1/completions'),
        lineOf('get').replace('POST', 'GET'),
        lineOf('streamed', { stream: true }),
        lineOf('no-messages', { messages: [] }),
        lineOf('claude', { model: 'claude-haiku-4-5' }, '/v1/messages'),
        lineOf('wrong-wire', { model: 'claude-haiku-4-5' }),
        lineOf('last, without a line break'),
      ].join('\n'),
    )
    const output = `${input}.out`
    const { code, stdout, stderr } = await runCli(['batch', input, '-o', output, '--config', config, '--json'])
    expect({ code, stderr }).toEqual({ code: 3, stderr: '' })
    expect(JSON.parse(stdout)).toEqual({
      lines: 15,
      answered: 4,
      failed: 11,
      left: 0,
      seconds: expect.any(Number),
      promptTokens: expect.any(Number),
      completionTokens: 12,
    })
    const results = await resultsIn(output)
    const said = results.map(({ id, custom_id, response, error }) => {
      expect(id).toMatch(/^batch_req_\d+_[0-9a-f]{16}$/)
      return [Number(id.split('_')[2]), custom_id, response?.status_code ?? error?.code]
    })
    expect(said.sort(([a], [b]) => Number(a) - Number(b))).toEqual([
      [1, 'refused', 400],
      [2, 'answered', 200],
      [3, null, 'invalid_json_line'],
      [4, 'with a carriage return', 200],
      [6, null, 'invalid_json_line'],
      [7, null, 'missing_required_parameter'],
      [8, 'answered', 'duplicate_custom_id'],
      [9, 'other-model', 'model_not_found'],
      [10, 'other-url', 'invalid_url'],
      [11, 'get', 'invalid_method'],
      [12, 'streamed', 'unsupported_value'],
      [13, 'no-messages', 'bad_request'],
      [14, 'claude', 200],
      [15, 'wrong-wire', 'unsupported_api'],
      [16, 'last, without a line break', 200],
    ])
    for (const { response, error } of results) expect(response === null).toBe(error !== null)
    const [refused, answered] = [1, 2].map((line) => results.find(({ id }) => id.startsWith(`batch_req_${line}_`)))
    expect(refused?.response?.body).toMatchObject({ error: { code: '1210' } })
    expect(answered?.response).toMatchObject({
      request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      body: { object: 'chat.completion', choices: [{ message: { content: 'word word word' } }] },
    })
    // Again: nothing is left to do, and nothing is done.
    const again = await runCli(['batch', input, '-o', output, '--config', config, '--json'])
    expect(JSON.parse(again.stdout)).toMatchObject({ lines: 15, answered: 4, failed: 11, left: 0, completionTokens: 0 })
    expect(again.code).toBe(3)
    expect(await resultsIn(output)).toEqual(results)
  })

  it('answers embeddings and responses, and counts their tokens', async () => {
    const simulator = await simulatorOf({ profile: 'openai' })
    const config = await configOf({ openai: poolOf(simulator, { provider: 'openai', models: ['e', 'r'] }) })
    const line = (custom_id: string, url: string, body: object) =>
      JSON.stringify({ custom_id, method: 'POST', url, body })
    const input = await fileOf(
      'in.jsonl',
      `${[
        line('vectors', '/v1/embeddings', { model: 'e', input: ['你好世界', 'word'], dimensions: 8 }),
        line('text', '/v1/responses', { model: 'r', input: '你好', max_output_tokens: 3 }),
        line('nothing', '/v1/embeddings', { model: 'e', input: [] }),
      ].join('\n')}\n`,
    )
    const { code, stdout } = await runCli(['batch', input, '-o', `${input}.out`, '--config', config, '--json'])
    expect(code).toBe(3)
    const counts = { answered: 2, failed: 1, promptTokens: 7, completionTokens: 3 }
    expect(JSON.parse(stdout)).toMatchObject({ lines: 3, left: 0, ...counts })
    const results = await resultsIn(`${input}.out`)
    const bodyOf = (id: string) => results.find(({ custom_id }) => custom_id === id)?.response
    expect(bodyOf('vectors')).toMatchObject({
      status_code: 200,
      body: { object: 'list', data: [{ index: 0 }, { index: 1 }], usage: { prompt_tokens: 5, total_tokens: 5 } },
    })
    expect(bodyOf('text')).toMatchObject({
      status_code: 200,
      body: { object: 'response', status: 'completed', usage: { input_tokens: 2, output_tokens: 3 } },
    })
    expect(bodyOf('nothing')).toMatchObject({ status_code: 400, body: { error: { type: 'invalid_request_error' } } })
  })

  it('killed again and again, completes every line once and repeats at most what was in flight', async () => {
    const simulator = await simulatorOf({ latencyMs: 20 })
    const maxActive = 8
    const config = await configOf({ 'glm-4-plus': poolOf(simulator, { queue: { maxActive, maxQueued: 20 } }) })
    const total = 300
    const input = await fileOf('in.jsonl', manyLines(total))
    const output = `${input}.out`
    const args = ['batch', input, '-o', output, '--config', config]
    const kills = [40, 120, 200]
    for (const least of kills) {
      const { child, ended } = startCli(args)
      await expect.poll(() => linesIn(output), { timeout: 30_000, interval: 5 }).toBeGreaterThan(least)
      child.kill('SIGKILL')
      expect((await ended).code).toBe(null)
      // As if it had been in the middle of a line.
      await appendFile(output, '{"id":"batch_req_299_00')
    }
    const { code, stdout } = await runCli([...args, '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ lines: total, answered: total, failed: 0, left: 0 })
    const ids = (await resultsIn(output)).map(({ custom_id }) => custom_id)
    expect(ids).toHaveLength(total)
    expect(new Set(ids).size).toBe(total)
    // In flight: at the provider, or answered and on its way into the file.
    expect(simulator.report().requests).toBeLessThanOrEqual(total + kills.length * 2 * maxActive)
  })

  it('told to stop, ends what is in flight, starts nothing more and can go on', async () => {
    const simulator = await simulatorOf({ latencyMs: 50 })
    const config = await configOf({ 'glm-4-plus': poolOf(simulator, { limits: { concurrency: 4 }, guardMs: 0 }) })
    const input = await fileOf('in.jsonl', manyLines(100))
    const output = `${input}.out`
    const args = ['batch', input, '-o', output, '--config', config, '--json']
    const { child, ended } = startCli(args)
    await expect.poll(() => linesIn(output), { timeout: 30_000, interval: 5 }).toBeGreaterThan(8)
    child.kill('SIGTERM')
    const { code, stdout, stderr } = await ended
    expect(code).toBe(143)
    expect(stderr).toContain('stopping; what is in flight ends first')
    const { left, answered } = JSON.parse(stdout)
    expect(left + answered).toBe(100)
    expect(left).toBeGreaterThan(0)
    // Whatever reached the provider was written down.
    expect(simulator.report().requests).toBe(answered)
    expect((await runCli(args)).code).toBe(0)
    expect(await resultsIn(output)).toHaveLength(100)
    expect(simulator.report().requests).toBe(100)
  })

  it('stops where no line could be answered, without a result for those it tried', async () => {
    const simulator = await simulatorOf()
    const config = await configOf({ 'glm-4-plus': poolOf(simulator, { queue: { maxActive: 2 } }) })
    const input = await fileOf('in.jsonl', manyLines(20))
    const output = `${input}.out`
    const args = ['batch', input, '-o', output, '--config', config]
    simulator.failNext('1000', 2)
    const { code, stderr } = await runCli(args)
    expect(code).toBe(1)
    expect(stderr).toContain('headgate: stopped, for no line could be answered now: glm 401 1000')
    const { code: codeAfter, stdout } = await runCli(args)
    expect(codeAfter).toBe(0)
    expect(stdout).toContain('20 lines, 20 answered, 0 failed, 0 left')
  })

  it('takes failures in a row that may pass for trouble, and single ones for the line’s own', async () => {
    const simulator = await simulatorOf()
    const retry = { maxAttempts: 1 }
    const config = await configOf({ 'glm-4-plus': poolOf(simulator, { retry, queue: { maxActive: 1 } }) })
    const input = await fileOf('in.jsonl', manyLines(60))
    const output = `${input}.out`
    const args = ['batch', input, '-o', output, '--config', config, '--json']
    simulator.failNext('500', 50)
    const first = await runCli(args)
    expect(first.code).toBe(1)
    expect(first.stderr).toContain('headgate: stopped after 50 failures in a row, the last: glm 500')
    // The line after them may be on its way already.
    const { answered, failed: failedAtFirst, left } = JSON.parse(first.stdout)
    expect({ failedAtFirst, all: answered + left }).toEqual({ failedAtFirst: 0, all: 60 })
    expect(answered).toBeLessThanOrEqual(1)
    simulator.failNext('500', 3)
    const second = await runCli(args)
    expect(second.code).toBe(3)
    expect(JSON.parse(second.stdout)).toMatchObject({ answered: 57, failed: 3, left: 0 })
    const failed = (await resultsIn(output)).filter(({ response }) => response?.status_code !== 200)
    expect(failed.map(({ response }) => response?.status_code)).toEqual([500, 500, 500])
  })

  it.each([
    ['is missing', async () => 'missing.json', /missing\.json/],
    ['has a mistake', () => fileOf('h.json', '{"pools":{"a":{"provider":"glmm"}}}'), /pools\.a\.provider/],
  ])('leaves no output behind where the config %s', async (_, config, said) => {
    const input = await fileOf('in.jsonl', manyLines(1))
    const output = `${input}.out`
    const run = await runCli(['batch', input, '-o', output, '--config', await config()])
    expect([run.code, run.stderr]).toEqual([1, expect.stringMatching(said)])
    expect(await readdir(dirname(input))).toEqual(['in.jsonl'])
  })

  it('with nothing configured, uses a simulated provider and says so', async () => {
    const input = await fileOf('in.jsonl', manyLines(2))
    const env = Object.fromEntries(
      Object.keys(process.env)
        .filter((name) => name.endsWith('_KEY'))
        .map((name) => [name, '']),
    )
    const { code, stdout, stderr } = await runCli(['batch', input, '-o', `${input}.out`], env)
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringContaining('2 lines, 2 answered, 0 failed, 0 left'),
    })
    expect(stderr).toContain('a simulated provider answers, which has the model glm-4-plus')
  })
})

describe('what batch refuses', () => {
  it('an output that has something else in it', async () => {
    const input = await fileOf('in.jsonl', manyLines(3))
    const others = await fileOf('others.jsonl', `${lineOf('x')}\n`)
    expect(await runCli(['batch', input, '-o', others])).toMatchObject({
      code: 1,
      stderr: `headgate: ${others}:1: expected a result of a batch: name another output with -o\n`,
    })
    expect(await readFile(others, 'utf8')).toBe(`${lineOf('x')}\n`)
  })

  it.each(['{"my": "settings"}', 'a note', '{"id":"batch_1","custom_id":"x"}'])(
    'a file whose one line has no end, which is no torn result: %s',
    async (text) => {
      const input = await fileOf('in.jsonl', manyLines(3))
      const others = await fileOf('others.json', text)
      expect(await runCli(['batch', input, '-o', others])).toMatchObject({
        code: 1,
        stderr: `headgate: ${others}:1: expected a result of a batch: name another output with -o\n`,
      })
      expect(await readFile(others, 'utf8')).toBe(text)
    },
  )

  it('an output of another input, before anything is sent', async () => {
    const simulator = await simulatorOf()
    const config = await configOf({ 'glm-4-plus': poolOf(simulator) })
    const input = await fileOf('in.jsonl', manyLines(3))
    const output = `${input}.out`
    await runCli(['batch', input, '-o', output, '--config', config])
    await writeFile(input, manyLines(5).replace('hello line-2', 'goodbye'))
    const changed = await runCli(['batch', input, '-o', output, '--config', config])
    const stderr = `headgate: ${output} has results for another input (see line 3 of ${input}): name another with -o\n`
    expect(changed).toEqual({ code: 1, stdout: '', stderr })
    await writeFile(input, manyLines(2))
    expect((await runCli(['batch', input, '-o', output, '--config', config])).stderr).toBe(stderr)
    expect(simulator.report().requests).toBe(3)
    // What was only added to is the same input still.
    await writeFile(input, manyLines(4))
    expect((await runCli(['batch', input, '-o', output, '--config', config])).code).toBe(0)
    expect(simulator.report().requests).toBe(4)
  })

  it.runIf(process.platform === 'linux')(
    'an output that another process writes, but not one whose writer is gone',
    async () => {
      const simulator = await simulatorOf()
      const config = await configOf({ 'glm-4-plus': poolOf(simulator) })
      const input = await fileOf('in.jsonl', manyLines(1))
      const output = `${input}.out`
      const stat = (await readFile(`/proc/${process.pid}/stat`, 'utf8')).split(') ').at(-1)!
      const began = stat.split(' ')[19]
      await writeFile(`${output}.lock`, JSON.stringify({ pid: process.pid, began }))
      const args = ['batch', input, '-o', output, '--config', config]
      const { code, stderr } = await runCli(args)
      expect(code).toBe(1)
      expect(stderr).toContain(`${output} is being written by process ${process.pid}. If there is none, remove`)
      // By another name it is the same.
      await writeFile(output, '')
      await symlink(output, `${input}.link`)
      const linked = await runCli(['batch', input, '-o', `${input}.link`, '--config', config])
      expect(linked.stderr).toContain(`${input}.link is being written by process ${process.pid}.`)
      await writeFile(`${output}.lock`, JSON.stringify({ pid: process.pid, began: '1' }))
      expect((await runCli(args)).code).toBe(0)
    },
  )

  it('paths that can’t be right', async () => {
    const input = await fileOf('in.jsonl', manyLines(1))
    const long = 'x'.repeat(300)
    const refusals: [string[], string][] = [
      [['nowhere.jsonl', '-o', 'out.jsonl'], "nowhere.jsonl: can't be read: no such file"],
      [[input, '-o', input], `${input} is the input: name another output with -o`],
      [[input, '-o', '/nowhere/out.jsonl'], "/nowhere/out.jsonl: can't be written: no such folder"],
      [[input, '-o', '/dev/null'], '/dev/null: expected a file, or a name that is free'],
      [[input, '-o', dirname(input)], `${dirname(input)}: expected a file, or a name that is free`],
      [[input, '-o', long], `${long}: can't be written, for ${long}.lock can't: ENAMETOOLONG`],
      [['/dev/null', '-o', 'out.jsonl'], '/dev/null: expected a file, which can be read from its beginning again'],
    ]
    for (const [args, message] of refusals) {
      expect(await runCli(['batch', ...args])).toEqual({ code: 1, stdout: '', stderr: `headgate: ${message}\n` })
    }
    const usage = await runCli(['batch', input])
    expect({ code: usage.code, stdout: usage.stdout }).toEqual({ code: 2, stdout: '' })
    expect(usage.stderr).toContain("required option '-o, --output <results.jsonl>' not specified")
  })
})
