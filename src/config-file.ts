import { readFile } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { config as readDotEnv } from 'dotenv'
import type { GateOptions, LimitOptions, PoolOptions } from './config.js'
import { HeadgateError } from './errors.js'

type Environment = NodeJS.ProcessEnv

/**
 * Pools that an API key in the environment makes: `GLM_API_KEY` the pool `glm`, and so on. All models of a pool share its
 * limits; which model a request may name is said by `GLM_MODELS` (separated by commas), by default these. Several keys,
 * separated by commas, make pools of the same models, each with the limits: `glm`, `glm-2` and so on.
 */
const ENVIRONMENT_POOLS = [
  { prefix: 'GLM', provider: 'glm', models: ['glm-4-plus', 'glm-4-flash', 'glm-4.5', 'glm-4.6'] },
  { prefix: 'DEEPSEEK', provider: 'deepseek', models: ['deepseek-chat', 'deepseek-reasoner'] },
  { prefix: 'OPENAI', provider: 'openai', models: ['gpt-4o-mini', 'gpt-4o', 'gpt-4.1-mini', 'gpt-4.1'] },
  { prefix: 'ANTHROPIC', provider: 'anthropic', models: ['claude-sonnet-4-5', 'claude-haiku-4-5', 'claude-opus-4-1'] },
  { prefix: 'GEMINI', provider: 'gemini', models: ['gemini-2.5-flash', 'gemini-2.5-flash-lite', 'gemini-2.5-pro'] },
  { prefix: 'MISTRAL', provider: 'mistral', models: ['mistral-small-latest', 'mistral-large-latest'] },
  { prefix: 'GROQ', provider: 'groq', models: ['llama-3.3-70b-versatile', 'llama-3.1-8b-instant'] },
  { prefix: 'MOONSHOT', provider: 'moonshot', models: ['kimi-k2-0905-preview', 'kimi-latest', 'moonshot-v1-8k'] },
  { prefix: 'DASHSCOPE', provider: 'dashscope', models: ['qwen-plus', 'qwen-flash', 'qwen3-max'] },
  { prefix: 'OPENROUTER', provider: 'openrouter', models: ['openrouter/auto'] },
] as const

/** A config nests no deeper; what does is someone's object, passed on as it is. */
const MAX_DEPTH = 16

/**
 * Options from the environment alone: REDIS_URL, HEADGATE_NAMESPACE and, for each provider with an API key,
 * `*_API_KEY`, `*_MODELS`, `*_BASE_URL`, `*_API_MAX_CALLS_PER_MINUTE`, `*_API_MAX_TOKENS_PER_MINUTE`,
 * `*_API_MAX_CONCURRENCY` and `*_DEGRADED_MESSAGE`. An empty variable counts as unset; without any key there is no pool.
 */
export function configFromEnv(env: Environment): GateOptions {
  const problems: string[] = []
  const pools: Record<string, PoolOptions> = {}
  for (const { prefix, provider, models } of ENVIRONMENT_POOLS) {
    const apiKeys = readList(env, `${prefix}_API_KEY`)
    if (apiKeys === undefined) continue
    const baseURL = read(env, `${prefix}_BASE_URL`)
    const degradedMessage = read(env, `${prefix}_DEGRADED_MESSAGE`)
    const limits = readLimits(env, prefix, problems)
    const same = {
      provider,
      models: readList(env, `${prefix}_MODELS`) ?? models,
      ...(Object.keys(limits).length > 0 && { limits }),
      ...(baseURL !== undefined && { baseURL }),
      ...(degradedMessage !== undefined && { degradedMessage }),
    }
    for (const [index, apiKey] of apiKeys.entries()) {
      pools[index === 0 ? provider : `${provider}-${index + 1}`] = { ...same, apiKey }
    }
  }
  if (problems.length > 0) throw invalid(problems.join('\n'))
  const redis = read(env, 'REDIS_URL')
  const namespace = read(env, 'HEADGATE_NAMESPACE')
  return { ...(redis !== undefined && { redis }), ...(namespace !== undefined && { namespace }), pools }
}

function readLimits(env: Environment, prefix: string, problems: string[]): LimitOptions {
  const calls = readCount(env, `${prefix}_API_MAX_CALLS_PER_MINUTE`, problems)
  const tokens = readCount(env, `${prefix}_API_MAX_TOKENS_PER_MINUTE`, problems)
  const concurrency = readCount(env, `${prefix}_API_MAX_CONCURRENCY`, problems)
  return {
    ...(calls !== undefined && { requests: { limit: calls, per: '1m' } }),
    ...(tokens !== undefined && { tokens: { limit: tokens, per: '1m' } }),
    ...(concurrency !== undefined && { concurrency }),
  }
}

function read(env: Environment, name: string): string | undefined {
  return env[name]?.trim() || undefined
}

function readList(env: Environment, name: string): string[] | undefined {
  const items = (read(env, name) ?? '').split(',').map((item) => item.trim())
  const named = items.filter((item) => item !== '')
  return named.length > 0 ? named : undefined
}

function readCount(env: Environment, name: string, problems: string[]): number | undefined {
  const text = read(env, name)
  if (text === undefined) return undefined
  const value = /^\d+$/.test(text) ? Number(text) : 0
  if (Number.isSafeInteger(value) && value >= 1) return value
  problems.push(`${name}: expected a whole number ≥ 1, got ${JSON.stringify(text.slice(0, 100))}`)
  return undefined
}

/**
 * Options from a file: JSON, or a module's default export (`.mjs`, `.js`). `${NAME}` inside any string is replaced from
 * the environment. Throws CONFIG_INVALID naming the file; the values are for `resolveConfig` to check.
 */
export async function loadConfigFile(path: string, env: Environment): Promise<GateOptions> {
  const raw = await loadRaw(path)
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    throw invalid(`${path}: expected an object with the gate's options`)
  }
  const problems: string[] = []
  const options = substitute(raw, '', env, problems)
  if (problems.length > 0) throw invalid(problems.map((line) => `${path}: ${line}`).join('\n'))
  return options as GateOptions
}

async function loadRaw(path: string): Promise<unknown> {
  const extension = extname(path)
  if (extension === '.json') return parseJson(path, (await readText(path)).replace(/^\uFEFF/, ''))
  if (extension !== '.mjs' && extension !== '.js') throw invalid(`${path}: expected a .json, .mjs or .js file`)
  await readText(path)
  try {
    const loaded: { default?: unknown } = await import(/* @vite-ignore */ pathToFileURL(resolve(path)).href)
    return loaded.default
  } catch (cause) {
    throw invalid(`${path}: can't be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, cause)
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw invalid(`${path}: can't be read: ${(cause as NodeJS.ErrnoException).code ?? 'unknown error'}`, cause)
  }
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    // Some of V8's messages quote the text, which may hold a key: only those that name a position are passed on.
    const [, reason, offset] = /^([^"]*?) in JSON at position (\d+)/.exec((error as Error).message) ?? []
    if (reason === undefined) throw invalid(`${path}: not valid JSON`)
    const before = text.slice(0, Number(offset)).split('\n')
    throw invalid(`${path}:${before.length}:${before.at(-1)!.length + 1}: not valid JSON: ${reason}`)
  }
}

/** Replaces `${NAME}` in strings inside arrays and plain objects; clients, loggers and functions stay what they are. */
function substitute(value: unknown, at: string, env: Environment, problems: string[], depth = 0): unknown {
  if (typeof value === 'string') return substituteText(value, at, env, problems)
  if (depth >= MAX_DEPTH) return value
  if (Array.isArray(value)) {
    return value.map((item, index) => substitute(item, `${at}[${index}]`, env, problems, depth + 1))
  }
  if (!isPlainObject(value)) return value
  const entries = Object.entries(value).map(([key, item]) => {
    return [key, substitute(item, at === '' ? key : `${at}.${key}`, env, problems, depth + 1)] as const
  })
  // An object none of whose strings changed stays itself: it may be a provider with methods that know it.
  return entries.every(([key, item]) => item === value[key]) ? value : Object.fromEntries(entries)
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function substituteText(text: string, at: string, env: Environment, problems: string[]): string {
  return text.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    if (!/^[A-Za-z_]\w*$/.test(name)) {
      // What stands there instead is not repeated: it may be the key itself.
      problems.push(`${at}: expected the name of an environment variable between \${ and }`)
      return ''
    }
    if (env[name] === undefined) problems.push(`${at}: the environment variable ${name} is not set`)
    return env[name] ?? ''
  })
}

/** Reads `.env` in `dir`, if there is one, into the environment; variables that exist already win. */
export function loadDotEnv(dir: string, env: Environment = process.env): void {
  const path = join(dir, '.env')
  const { error } = readDotEnv({ path, quiet: true, processEnv: env as Record<string, string> })
  if (error && (error as NodeJS.ErrnoException).code !== 'ENOENT') {
    throw invalid(`${path}: can't be read: ${(error as NodeJS.ErrnoException).code ?? error.message}`, error)
  }
}

function invalid(message: string, cause?: unknown): HeadgateError {
  return new HeadgateError('CONFIG_INVALID', message, cause === undefined ? {} : { cause })
}
