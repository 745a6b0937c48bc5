// `headgate serve` as it is installed: the built command line, a working directory of its own, a real Redis.
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { startRedisServer } from '../../src/testing/index.js'
import { COMPLETION, cleanups, MESSAGES, reply, simulatorOf, upstreamOf } from './harness.js'

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))
const PASSWORD = 'p4ssw0rd-of-redis'
const KEY = 'glm-key-0123456789abcdef'

interface Serve {
  readonly child: ChildProcess
  readonly output: { stdout: string; stderr: string }
  /** Resolves with the exit code when the process is gone and its output read. */
  readonly exited: Promise<number | null>
  /** Resolves with the URL it told its parent. */
  readonly listening: Promise<string>
}

async function serve(files: Record<string, string>, args: string[] = ['--port', '0']): Promise<Serve> {
  const cwd = await mkdtemp(join(tmpdir(), 'headgate-serve-'))
  cleanups.push(() => rm(cwd, { recursive: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(cwd, name), text)
  if (!existsSync(CLI)) throw new Error("dist/cli.js is missing: these tests run the built CLI, 'npm run build' first")
  // Nothing of this machine's own environment but where programs are.
  const env = { PATH: process.env.PATH }
  const child = spawn(process.execPath, [CLI, 'serve', ...args], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout!.on('data', (chunk) => {
    output.stdout += chunk
  })
  child.stderr!.on('data', (chunk) => {
    output.stderr += chunk
  })
  const exited = once(child, 'close').then(([code]) => code as number | null)
  cleanups.push(async () => {
    child.kill('SIGKILL')
    await exited
  })
  const listening = Promise.race([
    once(child, 'message').then(([message]) => (message as { url: string }).url),
    exited.then((code) => Promise.reject(new Error(`serve exited with ${code}: ${output.stderr}`))),
  ])
  listening.catch(() => {})
  return { child, output, exited, listening }
}

const envFile = (values: Record<string, string>) => ({
  '.env': Object.entries(values)
    .map(([name, value]) => `${name}=${value}\n`)
    .join(''),
})

function chat(url: string): Promise<Response> {
  const body = JSON.stringify({ model: 'glm-4-plus', messages: MESSAGES, max_tokens: 3 })
  return fetch(`${url}/v1/chat/completions`, { method: 'POST', body })
}

async function redisWithPassword() {
  const redis = await startRedisServer({ password: PASSWORD })
  cleanups.push(() => redis.stop())
  return redis
}

describe('headgate serve', () => {
  test("starts from a .env with the user's own names, and a Redis that asks for a password", async () => {
    const redis = await redisWithPassword()
    const simulator = await simulatorOf()
    const { child, output, exited, listening } = await serve(
      envFile({
        REDIS_URL: `redis://:${PASSWORD}@127.0.0.1:${redis.port}/0`,
        GLM_API_KEY: KEY,
        GLM_API_MAX_CALLS_PER_MINUTE: '50',
        GLM_BASE_URL: simulator.baseURL,
        DEEPSEEK_API_KEY: 'deepseek-key-0123456789',
        HEADGATE_LOG_LEVEL: 'debug',
      }),
    )
    const url = await listening
    const response = await chat(url)
    expect(response.status).toBe(200)
    expect(response.headers.get('x-headgate-outcome')).toBe('completed')
    expect(await response.json()).toMatchObject({ object: 'chat.completion', usage: { completion_tokens: 3 } })
    const models = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] }
    expect(models.data.map(({ id }) => id)).toEqual(expect.arrayContaining(['glm-4-plus', 'deepseek-chat']))
    expect((await fetch(`${url}/readyz`)).status).toBe(200)
    expect(simulator.log).toMatchObject([{ status: 200 }])
    child.kill('SIGTERM')
    expect(await exited).toBe(0)
    expect(output.stdout).toBe(`${url}\n`)
    const lines = output.stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.filter(({ msg }) => msg === 'http request')).toMatchObject([
      { httpStatus: 200, outcome: 'completed', attempts: 1, pool: 'glm', model: 'glm-4-plus' },
      { httpStatus: 200, method: 'GET', path: '/v1/models' },
      { httpStatus: 200, method: 'GET', path: '/readyz' },
    ])
    for (const secret of [PASSWORD, KEY, 'deepseek-key', 'private']) expect(output.stderr).not.toContain(secret)
  })

  test('a wrong password: exit 1, with the host and the cause but not the password', async () => {
    const redis = await redisWithPassword()
    const REDIS_URL = `redis://:not-${PASSWORD}@127.0.0.1:${redis.port}/0`
    const { output, exited } = await serve(envFile({ REDIS_URL, GLM_API_KEY: KEY }))
    expect(await exited).toBe(1)
    expect(output.stdout).toBe('')
    expect(output.stderr).toMatch(new RegExp(`^headgate: .*127\\.0\\.0\\.1:${redis.port}.*WRONGPASS`, 'm'))
    expect(output.stderr).not.toContain(PASSWORD)
    expect(output.stderr).not.toContain(KEY)
  })

  test('a Redis that is not there: exit 1, with the host and the cause but not the password', async () => {
    const redis = await redisWithPassword()
    await redis.stop()
    const { output, exited } = await serve(envFile({ REDIS_URL: redis.url, GLM_API_KEY: KEY }))
    expect(await exited).toBe(1)
    expect(output.stdout).toBe('')
    expect(output.stderr).toMatch(new RegExp(`^headgate: .*127\\.0\\.0\\.1:${redis.port}.*ECONNREFUSED`, 'm'))
    expect(output.stderr).not.toContain(PASSWORD)
  })

  test.each<Record<string, string>>([{}, { HEADGATE_API_KEYS: 'key-one,key-two' }])(
    'nothing configured (%j): the simulator, said on stderr, with a curl line that works',
    async (values) => {
      const { child, output, exited, listening } = await serve(envFile(values))
      const url = await listening
      const curl = () => /^curl .*$/m.exec(output.stderr)?.[0]
      while (!curl()) await once(child.stderr!, 'data')
      for (const name of ['simulated', 'GLM_API_KEY', 'DEEPSEEK_API_KEY', 'OPENAI_API_KEY', '--config']) {
        expect(output.stderr).toContain(name)
      }
      const { stdout } = await promisify(execFile)('sh', ['-c', curl()!], {
        env: { PATH: process.env.PATH, ...values },
      })
      expect(JSON.parse(stdout)).toMatchObject({ object: 'chat.completion', model: 'glm-4-plus' })
      child.kill('SIGTERM')
      expect(await exited).toBe(0)
      expect(output.stdout).toBe(`${url}\n`)
      expect(output.stderr).not.toContain('key-one')
    },
  )

  test('a port in use: exit 1', async () => {
    const other = createServer()
    cleanups.push(() => other.close())
    await once(other.listen(0, '127.0.0.1'), 'listening')
    const port = String((other.address() as AddressInfo).port)
    const { output, exited } = await serve(envFile({ GLM_API_KEY: KEY }), ['--port', port])
    expect(await exited).toBe(1)
    expect(output.stderr).toContain(`headgate: port ${port} on 127.0.0.1 is in use\n`)
  })

  test('off loopback without keys: exit 1', async () => {
    const { output, exited } = await serve(envFile({ GLM_API_KEY: KEY }), ['--host', '0.0.0.0', '--port', '0'])
    expect(await exited).toBe(1)
    expect(output.stderr).toMatch(/^headgate: .*0\.0\.0\.0.*HEADGATE_API_KEYS/m)
  })

  test('a config file that reads the environment', async () => {
    const { baseURL } = await simulatorOf()
    // biome-ignore lint/suspicious/noTemplateCurlyInString: this is the placeholder of the file's own
    const pool = { provider: 'glm', apiKey: '${MY_KEY}', baseURL, models: ['glm-4-plus'] }
    const files = { ...envFile({ MY_KEY: KEY }), 'gate.json': JSON.stringify({ pools: { main: pool } }) }
    const { listening } = await serve(files, ['--config', 'gate.json', '--port', '0'])
    expect((await chat(await listening)).status).toBe(200)
  })

  test.each([
    ['that is not there', ['--config', 'none.json'], 'none.json'],
    ['without pools', ['--config', 'empty.json'], 'empty.json'],
    ['that is wrong', ['--config', 'wrong.json'], 'pools.glm.provider'],
  ])('a config file %s: exit 1, naming it', async (_, args, name) => {
    const files = { 'empty.json': '{"pools":{}}', 'wrong.json': '{"pools":{"glm":{"provider":"nobody"}}}' }
    const { output, exited } = await serve(files, args)
    expect(await exited).toBe(1)
    expect(output.stderr).toMatch(/^headgate: /)
    expect(output.stderr).toContain(name)
  })

  test('SIGTERM lets what is in flight end first', async () => {
    const upstream = await upstreamOf()
    const { child, exited, listening } = await serve(envFile({ GLM_API_KEY: KEY, GLM_BASE_URL: upstream.baseURL }))
    const url = await listening
    const answer = chat(url)
    const inFlight = await upstream.arrival(0)
    child.kill('SIGTERM')
    const refused = async () => fetch(`${url}/healthz`).catch(() => undefined)
    while (await refused());
    reply(inFlight, 200, COMPLETION)
    expect((await answer).status).toBe(200)
    expect(await exited).toBe(0)
  })

  test('SIGTERM loses no line of the log', async () => {
    const upstream = await upstreamOf()
    const { child, exited, listening, output } = await serve(
      envFile({ GLM_API_KEY: KEY, GLM_BASE_URL: upstream.baseURL, GLM_API_MAX_CALLS_PER_MINUTE: '1000' }),
    )
    const url = await listening
    const answers = Array.from({ length: 20 }, () => chat(url))
    for (let n = 0; n < answers.length; n++) reply(await upstream.arrival(n), 200, COMPLETION)
    await Promise.all(answers)
    child.kill('SIGTERM')
    expect(await exited).toBe(0)
    expect(output.stderr.match(/"msg":"http request"/g)).toHaveLength(answers.length)
  })

  test('SIGTERM lets a stream go on to its end', async () => {
    const upstream = await upstreamOf()
    const { child, exited, listening } = await serve(envFile({ GLM_API_KEY: KEY, GLM_BASE_URL: upstream.baseURL }))
    const url = await listening
    const body = JSON.stringify({ model: 'glm-4-plus', messages: MESSAGES, stream: true })
    const answer = fetch(`${url}/v1/chat/completions`, { method: 'POST', body })
    const { response } = await upstream.arrival(0)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"id":"1"}\n\n')
    const text = (await answer).text()
    child.kill('SIGTERM')
    while (await fetch(`${url}/healthz`).catch(() => undefined));
    response.end('data: [DONE]\n\n')
    expect(await text).toBe('data: {"id":"1"}\n\ndata: [DONE]\n\n')
    expect(await exited).toBe(0)
  })
})
