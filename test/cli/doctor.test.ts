import { once } from 'node:events'
import http from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { createHeadgate } from '../../src/index.js'
import { startSimulator } from '../../src/testing/index.js'
import { type RedisServer, type RedisServerOptions, startRedisServer } from '../../src/testing/redis-server.js'
import { fileOf, runCli } from './cli.js'

const KEY = 'pool-secret-0123456789'
const PASSWORD = 'p@ss/word-9876'

interface Check {
  readonly id: string
  readonly status: string
  readonly said: string
  readonly advice?: string
}

let redis: RedisServer
let simulator: Awaited<ReturnType<typeof startSimulator>>
beforeAll(async () => {
  redis = await startRedisServer()
  simulator = await startSimulator({ profile: 'glm', apiKey: KEY, concurrency: 2, latencyMs: 300 })
})
afterAll(async () => {
  await simulator.close()
  await redis.stop()
})

async function redisOf(options: RedisServerOptions): Promise<RedisServer> {
  const server = await startRedisServer(options)
  onTestFinished(() => server.stop())
  return server
}

function environment(url: string | undefined, more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const redisUrl = url === undefined ? {} : { REDIS_URL: url }
  return { ...redisUrl, GLM_API_KEY: KEY, GLM_BASE_URL: simulator.baseURL, GLM_API_MAX_CONCURRENCY: '5', ...more }
}

async function examine(env: NodeJS.ProcessEnv, ...flags: string[]) {
  const { code, stdout, stderr } = await runCli(['doctor', '--json', ...flags], env)
  expect(stderr).not.toMatch(/secret|\n {4}at /)
  const report = JSON.parse(stdout) as { ok: boolean; checks: Check[]; answers: { because: string[] }[] }
  const check = (id: string) => report.checks.find((one) => one.id === id)
  const bad = report.checks.filter(({ status }) => status === 'problem').map(({ id }) => id)
  return { code, report, check, bad, stdout, answers: report.answers.map(({ because }) => because.join('\n')) }
}

describe('headgate doctor', () => {
  it('finds nothing wrong where nothing is, and leaves nothing behind', async () => {
    const { code, report, check, answers } = await examine(
      environment(redis.url, { HEADGATE_NAMESPACE: 'fresh' }),
      '--strict',
    )
    // A machine with no processor to spare is slow to answer, and doctor says so.
    const notOk = report.checks.filter(({ id, status }) => status !== 'ok' && id !== 'redis.latency')
    expect(notOk.map(({ id }) => id)).toEqual(['redis.fleet'])
    const isFine = check('redis.latency')?.status === 'ok'
    expect({ code, ok: report.ok }).toEqual({ code: isFine ? 0 : 1, ok: isFine })
    expect(check('redis.scripts')?.said).toContain('may run')
    expect(check('redis.messages')?.said).toContain('heard')
    expect(check('pool.glm.key')?.said).toContain('takes the key')
    expect(answers[0]).toContain('It connects')
    const client = new Redis(redis.url)
    onTestFinished(() => client.disconnect())
    expect(await client.keys('*fresh*')).toEqual([])
  })

  it('prints lines that align, plain without a terminal, with the three questions at the end', async () => {
    const { code, stdout } = await runCli(['doctor'], environment(redis.url))
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ok {4}config {10,}the environment: pool glm\n/)
    expect(stdout).toMatch(/\nok {4}version {9,}\d+\.\d+/)
    expect(stdout).not.toContain('\u001b')
    for (const question of ['Redis will not connect?', '1302 still comes?', 'Calls got slow?']) {
      expect(stdout).toContain(`\n${question}\n  - `)
    }
    expect(stdout).toMatch(/\n0 problems, 0 warnings\n$/)
    const coloured = await runCli(['doctor'], environment(redis.url, { FORCE_COLOR: '1' }))
    expect(coloured.stdout).toContain('\u001b[32mok')
  })

  it('says that nothing listens at a wrong port', async () => {
    const gone = await startRedisServer()
    await gone.stop()
    const { code, bad, check, answers } = await examine(environment(gone.url))
    expect({ code, bad }).toEqual({ code: 1, bad: ['redis.connect'] })
    expect(check('redis.connect')).toMatchObject({
      said: expect.stringContaining(`127.0.0.1:${gone.port}: nothing listens`),
    })
    expect(check('redis.connect')?.advice).toContain('REDIS_URL')
    expect(answers[0]).toContain('nothing listens there')
  })

  it('tells a wrong password from a missing one, and prints neither', async () => {
    const locked = await redisOf({ password: PASSWORD })
    const wrong = await examine(environment(`redis://:${encodeURIComponent('wr@ng-secret')}@127.0.0.1:${locked.port}`))
    expect(wrong.bad).toEqual(['redis.connect'])
    expect(wrong.check('redis.connect')?.said).toContain('wrong password')
    const missing = await examine(environment(`redis://127.0.0.1:${locked.port}`))
    expect(missing.check('redis.connect')?.said).toContain('asks for a password')
    const right = await examine(environment(locked.url))
    expect(right.bad).toEqual([])
    for (const { stdout } of [wrong, missing, right]) {
      for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), 'wr@ng-secret', 'wr%40ng-secret', KEY]) {
        expect(stdout).not.toContain(secret)
      }
    }
  })

  it('takes an eviction policy that forgets windows for a problem', async () => {
    const evicting = await redisOf({ args: ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru'] })
    const { code, bad, check } = await examine(environment(evicting.url))
    expect({ code, bad }).toEqual({ code: 1, bad: ['redis.eviction'] })
    expect(check('redis.eviction')?.advice).toContain('noeviction')
    expect(check('redis.memory')?.said).toContain('of maxmemory 64.0 MiB')
  })

  it('names the command that a user may not run', async () => {
    const client = new Redis(redis.url)
    onTestFinished(() => client.disconnect())
    await client.call('ACL', 'SETUSER', 'mute', 'on', '>mute-secret', '~*', '&*', '+@all', '-eval', '-evalsha')
    await client.call('ACL', 'SETUSER', 'deaf', 'on', '>deaf-secret', '~*', 'resetchannels', '+@all', '-info')
    const mute = await examine(environment(`redis://mute:mute-secret@127.0.0.1:${redis.port}`))
    expect(mute.bad).toEqual(['redis.scripts'])
    expect(mute.check('redis.scripts')).toMatchObject({
      said: 'this user may not use EVAL',
      advice: expect.stringContaining('ACL'),
    })
    const deaf = await examine(environment(`redis://deaf:deaf-secret@127.0.0.1:${redis.port}`))
    expect(deaf.check('redis.info')?.status).toBe('skipped')
    expect(deaf.bad).toEqual(['redis.scripts', 'redis.messages'])
  })

  it('notices that no connection is left', async () => {
    const narrow = await redisOf({ args: ['--maxclients', '1'] })
    const hog = connect(narrow.port, '127.0.0.1')
    onTestFinished(() => {
      hog.destroy()
    })
    await once(hog, 'connect')
    const { bad, check } = await examine(environment(narrow.url))
    expect(bad).toEqual(['redis.connect'])
    expect(check('redis.connect')?.said).toContain('maxclients')
  })

  it('refuses a database that there is not, where a client would silently take the first', async () => {
    const { check } = await examine(environment(`${redis.url}/99`))
    expect(check('redis.connect')?.said).toContain('no such database')
  })

  it('has the provider say whether the key is good, at no cost', async () => {
    const before = simulator.log.length
    const { code, bad, check, stdout } = await examine(environment(redis.url, { GLM_API_KEY: 'wrong-secret-000000' }))
    expect({ code, bad }).toEqual({ code: 1, bad: ['pool.glm.key'] })
    expect(check('pool.glm.key')).toMatchObject({
      said: expect.stringContaining('refuses'),
      advice: expect.stringContaining('the key is wrong'),
    })
    expect(stdout).not.toContain('wrong-secret')
    expect(simulator.log.length).toBe(before)
    const paid = await examine(environment(redis.url), '--call')
    expect(paid.check('pool.glm.call')?.said).toContain('glm-4-plus answers in')
    expect(simulator.log.length).toBe(before + 1)
  })

  it('says what serve would refuse', async () => {
    const empty = await examine({})
    expect(empty.code).toBe(1)
    expect(empty.check('config')?.advice).toContain('GLM_API_KEY')
    const file = await fileOf(
      'headgate.json',
      JSON.stringify({ pools: { p: { provider: 'glm', limits: { requests: 'x' } }, q: { provider: 'no' } } }),
    )
    const wrong = await examine({}, '--config', file)
    expect(wrong.bad).toEqual(['config'])
    expect(`${wrong.check('config')?.said}\n${wrong.check('config')?.advice}`).toMatch(
      /pools\.p\.limits\.requests[\s\S]*pools\.q\.provider/,
    )
  })

  it('looks at Redis all the same where the rest of the config is wrong', async () => {
    const fromEnv = await examine(environment(redis.url, { GLM_API_MAX_CONCURRENCY: 'many' }))
    expect(fromEnv.bad).toEqual(['config'])
    expect(fromEnv.check('redis.scripts')?.status).toBe('ok')
    expect(fromEnv.answers).toEqual([
      expect.stringContaining('It connects'),
      expect.stringContaining('mend the config'),
      expect.stringContaining('mend the config'),
    ])
    const pools = { p: { provider: 'no' } }
    const gone = await startRedisServer()
    await gone.stop()
    const file = await fileOf('headgate.json', JSON.stringify({ redis: gone.url, pools }))
    const fromFile = await examine({}, '--config', file)
    expect(fromFile.bad).toEqual(['config', 'redis.connect'])
    expect(fromFile.answers[0]).toContain('nothing listens there')
    const torn = await examine({}, '--config', await fileOf('headgate.json', '{'))
    expect(torn.bad).toEqual(['config'])
    expect(torn.check('redis.connect')?.status).toBe('skipped')
    expect(torn.answers[0]).toContain('config')
  })

  it('holds the limits against what the fleet remembers of refusals, and against fleets beside it', async () => {
    const pool = {
      provider: 'glm',
      apiKey: KEY,
      baseURL: simulator.baseURL,
      limits: { concurrency: 5 },
      retry: { baseMs: 1, capMs: 2 },
    }
    const gate = createHeadgate({ redis: redis.url, namespace: 'observed', pools: { glm: pool } })
    const call = () => gate.complete({ pool: 'glm', messages: [{ role: 'user', content: 'hi' }], maxTokens: 1 })
    await Promise.all(Array.from({ length: 8 }, call))
    await gate.close()
    const observed = environment(redis.url, { HEADGATE_NAMESPACE: 'observed' })
    const { code, check, answers } = await examine(observed)
    expect(code).toBe(0)
    const found = check('limit.pool:glm:concurrency')
    expect(found?.status).toBe('warning')
    expect(found?.said).toMatch(/^configured 5 in flight, the provider refused more than [1-4]$/)
    expect(found?.advice).toMatch(/^set concurrency: [1-4];/)
    expect(check('pool.glm.refusals')).toMatchObject({
      status: 'warning',
      said: expect.stringMatching(/^1302 × \d+ in the last hour$/),
      advice: expect.stringContaining('lower concurrency'),
    })
    expect(check('redis.fleet')?.said).toBe('no process of this namespace runs now')
    expect(answers[1]).toMatch(/1302 × \d+ in the last hour/)
    expect(answers[1]).toContain('the provider refused more than')
    expect(answers[2]).toContain('the provider refused more than')
    expect((await examine(observed, '--strict')).code).toBe(1)
    const beside = await examine(environment(redis.url, { HEADGATE_NAMESPACE: 'beside' }))
    expect(beside.check('redis.namespaces')).toMatchObject({
      status: 'warning',
      said: expect.stringContaining('observed'),
    })
    expect(beside.answers[1]).toMatch(/pools of the same name are governed in namespace .*observed too/)
  })

  it('warns of processes that keep other limits than the config it is given', async () => {
    const limits = { concurrency: 5, requests: '9/1m' }
    const glm = { provider: 'glm', apiKey: KEY, baseURL: simulator.baseURL, limits }
    const gate = createHeadgate({ redis: redis.url, namespace: 'mixed', pools: { glm } })
    await gate.ready()
    onTestFinished(() => gate.close())
    const { code, check } = await examine(environment(redis.url, { HEADGATE_NAMESPACE: 'mixed' }))
    expect(code).toBe(0)
    expect(check('group.pool:glm.config')).toMatchObject({
      status: 'warning',
      said: '1 process keeps other limits than this config: other dimensions or windows, guardMs or slackMs',
    })
  })

  it('warns of a long window that is spent', async () => {
    const limits = { requests: ['2/1d', '2/1m'] as const, concurrency: 5 }
    const glm = { provider: 'glm', apiKey: KEY, baseURL: simulator.baseURL, limits }
    const options = { redis: redis.url, namespace: 'spent', pools: { glm } }
    const gate = createHeadgate(options)
    for (let n = 0; n < 2; n++) await gate.complete({ pool: 'glm', messages: [{ role: 'user', content: 'hi' }] })
    await gate.close()
    const config = await fileOf('headgate.json', JSON.stringify(options))
    const { code, check, answers } = await examine({}, '--config', config)
    expect(code).toBe(0)
    expect(check('limit.pool:glm:requests:86400000')).toMatchObject({
      status: 'warning',
      said: '2 of 2 requests per 1d used: calls wait until what was used first is 1d old',
      advice: expect.stringContaining('name a fallback pool'),
    })
    expect(check('limit.pool:glm:requests:60000')?.status, 'a fleet that is busy').toBe('ok')
    expect(answers[2]).toContain('2 of 2 requests per 1d used')
    expect((await examine({}, '--config', config, '--strict')).code).toBe(1)
  })

  it('warns of models that the provider does not list, and names those that are like them', async () => {
    const listed = ['other', 'glm-4.6', 'glm-4-air', 'named:latest']
    const provider = http.createServer((_, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ object: 'list', data: listed.map((id) => ({ id })) }))
    })
    await once(provider.listen(0, '127.0.0.1'), 'listening')
    onTestFinished(() => {
      provider.close()
    })
    const baseURL = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`
    const glm = {
      provider: 'glm',
      apiKey: KEY,
      baseURL,
      models: ['glm-4-plus', 'glm-4.6', 'named'],
      limits: { concurrency: 5 },
    }
    const config = await fileOf(
      'headgate.json',
      JSON.stringify({ redis: redis.url, namespace: 'listed', pools: { glm } }),
    )
    const { code, check } = await examine({}, '--config', config)
    expect(code).toBe(0)
    expect(check('pool.glm.key')?.status).toBe('ok')
    expect(check('pool.glm.models')).toMatchObject({
      status: 'warning',
      said: 'the provider does not list glm-4-plus',
      advice: expect.stringContaining('it lists glm-4-air, glm-4.6, named:latest, and 1 more'),
    })
    expect((await examine({}, '--config', config, '--strict')).code).toBe(1)
  })

  it('warns of a time to go on without Redis in which no call could end', async () => {
    const glm = { provider: 'glm', baseURL: simulator.baseURL, limits: { concurrency: 5 }, holdUntilCallDeadline: true }
    const options = { redis: redis.url, namespace: 'isolation', isolatedMaxMs: '10m', pools: { glm } }
    const short = await fileOf('short.json', JSON.stringify(options))
    expect((await examine({}, '--config', short)).check('pool.glm.isolation')).toMatchObject({
      status: 'warning',
      said: expect.stringContaining('600000 ms, and isolatedMaxMs is 600000'),
    })
    const long = await fileOf('long.json', JSON.stringify({ ...options, isolatedMaxMs: '11m' }))
    expect((await examine({}, '--config', long)).check('pool.glm.isolation')).toBeUndefined()
  })

  it('knows a pool that an operator paused', async () => {
    const pool = { provider: 'glm', apiKey: KEY, baseURL: simulator.baseURL, limits: { concurrency: 5 } }
    const gate = createHeadgate({ redis: redis.url, namespace: 'paused', pools: { glm: pool } })
    await gate.ready()
    await gate.pause('glm')
    await gate.close()
    const { check, answers } = await examine(environment(redis.url, { HEADGATE_NAMESPACE: 'paused' }))
    expect(check('pool.glm.pause')).toMatchObject({ status: 'warning', said: 'paused by an operator' })
    expect(answers[2]).toContain('paused by an operator')
  })
})
