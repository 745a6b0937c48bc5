import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { loadConfigFile, loadDotEnv, resolveConfig } from '../../src/config.js'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'headgate-config-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

async function file(name: string, text: string): Promise<string> {
  const path = join(dir, name)
  await writeFile(path, text)
  return path
}

/** `${name}`, without being a template. */
const ref = (name: string) => `$\{${name}}`

describe('loadConfigFile', () => {
  it('reads JSON and replaces variables inside strings', async () => {
    const pools = { p: { provider: 'glm', apiKey: ref('KEY'), models: [`${ref('A')}-${ref('B')}`] } }
    const path = await file('good.json', `\uFEFF${JSON.stringify({ redis: `redis://:${ref('PASS')}@h:1/0`, pools })}`)
    const options = await loadConfigFile(path, { KEY: 'k$1', A: 'glm', B: '4', PASS: 'p' })
    expect(options).toEqual({
      redis: 'redis://:p@h:1/0',
      pools: { p: { provider: 'glm', apiKey: 'k$1', models: ['glm-4'] } },
    })
    expect(resolveConfig(options).pools.get('p')!.apiKey).toBe('k$1')
  })

  it('reads the default export of a module and leaves its objects alone', async () => {
    const source = `
      class Client { url = '${ref('NOT_SET')}' }
      export const client = new Client()
      export const logger = { debug() {}, info() {}, warn() { return this } }
      export default { redis: client, logger, pools: { p: { provider: 'glm', apiKey: '${ref('KEY')}' } } }`
    const path = await file('good.mjs', source)
    const options = await loadConfigFile(path, { KEY: 'k' })
    expect(options.pools).toEqual({ p: { provider: 'glm', apiKey: 'k' } })
    expect(options.redis).toMatchObject({ url: ref('NOT_SET') })
    expect(options.logger!.warn({}, '')).toBe(options.logger)
  })

  it.each<[string, string, string]>([
    ['comma.json', '{\n  "pools": {},\n}', ':3:1: not valid JSON: Expected double-quoted property name'],
    ['quote.json', '{"apiKey": sk-SECRET}', ': not valid JSON'],
    ['list.json', '[]', ": expected an object with the gate's options"],
    ['config.yaml', 'pools:', ': expected a .json, .mjs or .js file'],
    ['none.mjs', 'export const x = 1', ": expected an object with the gate's options"],
    ['throws.mjs', 'throw new Error("no luck")', ": can't be loaded: no luck"],
  ])('complains of %s', async (name, text, message) => {
    const path = await file(name, text)
    const error = expect.objectContaining({ code: 'CONFIG_INVALID', message: path + message })
    await expect(loadConfigFile(path, {})).rejects.toThrowError(error)
  })

  it.each(['missing.json', 'missing.mjs'])('complains of a file that is not there: %s', async (name) => {
    const path = join(dir, name)
    const error = expect.objectContaining({ code: 'CONFIG_INVALID', message: `${path}: can't be read: ENOENT` })
    await expect(loadConfigFile(path, {})).rejects.toThrowError(error)
  })

  it('names the variable that is missing and where it was to go', async () => {
    const pools = { 'glm-4': { apiKey: ref('NO_KEY'), models: ['m', ref('sk-SECRET')] } }
    const path = await file('vars.json', JSON.stringify({ redis: ref('NO_REDIS'), pools }))
    const message = [
      `${path}: redis: the environment variable NO_REDIS is not set`,
      `${path}: pools.glm-4.apiKey: the environment variable NO_KEY is not set`,
      `${path}: pools.glm-4.models[1]: expected the name of an environment variable between ${'$'}{ and }`,
    ].join('\n')
    const error = expect.objectContaining({ code: 'CONFIG_INVALID', message })
    await expect(loadConfigFile(path, {})).rejects.toThrowError(error)
  })
})

describe('loadDotEnv', () => {
  it('adds what is not there yet, and says nothing', async () => {
    const folder = join(dir, 'env')
    await mkdir(folder)
    await writeFile(join(folder, '.env'), 'GLM_API_KEY=from-file\nREDIS_URL="redis://:p#w@h:6381/0"\n')
    const log = vi.spyOn(console, 'log').mockImplementation(() => {})
    const env: NodeJS.ProcessEnv = { GLM_API_KEY: 'from-shell' }
    loadDotEnv(folder, env)
    expect(env).toEqual({ GLM_API_KEY: 'from-shell', REDIS_URL: 'redis://:p#w@h:6381/0' })
    expect(log).not.toHaveBeenCalled()
    log.mockRestore()
  })

  it('does without a file, but not with one that it cannot read', async () => {
    const env: NodeJS.ProcessEnv = {}
    loadDotEnv(join(dir, 'nowhere'), env)
    expect(env).toEqual({})
    const folder = join(dir, 'odd')
    await mkdir(join(folder, '.env'), { recursive: true })
    const message = `${join(folder, '.env')}: can't be read: EISDIR`
    expect(() => loadDotEnv(folder, env)).toThrowError(expect.objectContaining({ code: 'CONFIG_INVALID', message }))
  })
})
