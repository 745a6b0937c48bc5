import {
  configFromEnv,
  type GateOptions,
  loadDotEnv,
  type PoolConfig,
  type ResolvedConfig,
  resolveConfig,
} from '../../../config.js'
import { HeadgateError } from '../../../errors.js'
import { loadOptions } from '../../configured.js'
import { type Check, checkOf } from './check.js'

export interface ReadConfig {
  readonly checks: readonly Check[]
  /** As far as they could be read. */
  readonly options?: GateOptions
  readonly config?: ResolvedConfig
  /** Where Redis is, without a pool: of a config that is wrong elsewhere. */
  readonly redisAlone?: ResolvedConfig
}

/** Reads the config as `serve` would, and says what `serve` would refuse. */
export async function checkConfig(file: string | undefined, env: NodeJS.ProcessEnv): Promise<ReadConfig> {
  const check = checkOf('config', 'config')
  let options: GateOptions | undefined
  try {
    loadDotEnv(process.cwd(), env)
    options = await loadOptions(file, env)
    const config = resolveConfig(options)
    const source = file ?? 'the environment'
    const names = [...config.pools.keys()]
    if (names.length === 0) {
      const advice = "set GLM_API_KEY, DEEPSEEK_API_KEY or another provider's key, or name a file with --config"
      return { checks: [check.problem(`no pool is configured in ${source}`, advice)], options, config }
    }
    const said = `${source}: ${names.length === 1 ? 'pool' : 'pools'} ${names.join(', ')}`
    return { checks: [check.ok(said), ...judgePools(config)], options, config }
  } catch (error) {
    if (!(error instanceof HeadgateError)) throw error
    const [first = '', ...more] = error.message.split('\n')
    const { REDIS_URL, HEADGATE_NAMESPACE } = env
    options ??= file === undefined ? configFromEnv({ REDIS_URL, HEADGATE_NAMESPACE }) : undefined
    const redisAlone = options && withoutPools(options)
    const checks = [check.problem(first, more.join('\n') || undefined)]
    return { checks, ...(options && { options }), ...(redisAlone && { redisAlone }) }
  }
}

function withoutPools({ redis, namespace }: GateOptions): ResolvedConfig | undefined {
  try {
    return resolveConfig({
      ...(redis !== undefined && { redis }),
      ...(namespace !== undefined && { namespace }),
      pools: {},
    })
  } catch {
    return undefined
  }
}

function judgePools({ pools, isolatedMaxMs }: ResolvedConfig): Check[] {
  return [...pools.values()].flatMap((pool) => [...judgePool(pool), ...judgeIsolation(pool, isolatedMaxMs)])
}

/** What `isolatedMaxMs` was set for, and won't do. */
function judgeIsolation({ name, holdUntilCallDeadline, callTimeoutMs }: PoolConfig, isolatedMaxMs: number): Check[] {
  if (isolatedMaxMs === 0 || !holdUntilCallDeadline || isolatedMaxMs > callTimeoutMs) return []
  const said = `without Redis it begins no call: with holdUntilCallDeadline each may take its timeout, ${callTimeoutMs} ms, and isolatedMaxMs is ${isolatedMaxMs}`
  const advice = 'shorten the timeout, or raise isolatedMaxMs above it'
  return [checkOf(`pool.${name}.isolation`, `${name}: isolation`).warning(said, advice)]
}

/** Configs that are valid and will disappoint. */
function judgePool({ name, provider, limits, adaptive, guardMs }: PoolConfig): Check[] {
  const checks: Check[] = []
  const check = checkOf(`pool.${name}.config`, `${name}: config`)
  const windows = [...limits.requests, ...limits.tokens]
  const shared = limits.also.length > 0
  if (windows.length === 0 && limits.concurrency === undefined && !shared && !adaptive) {
    checks.push(
      check.warning(
        'no limits: nothing holds its calls back',
        'set limits.requests, limits.tokens or limits.concurrency',
      ),
    )
  }
  if (provider.limitsConcurrency && limits.concurrency === undefined && !shared) {
    const said = `${provider.name} limits calls in flight (1302), and no such limit is configured`
    const advice = adaptive
      ? `set concurrency (${name.toUpperCase()}_API_MAX_CONCURRENCY in the environment): without it the limit is learned from refusals`
      : 'set concurrency, or adaptive: true'
    checks.push(check.warning(said, advice))
  }
  const shortest = windows.reduce((least, { windowMs }) => Math.min(least, windowMs), Number.POSITIVE_INFINITY)
  if (guardMs * 10 > shortest) {
    const said = `guardMs ${guardMs} is a large part of its ${shortest} ms window`
    checks.push(
      checkOf(`pool.${name}.guard`, `${name}: guard`).warning(
        said,
        'lower guardMs, or say the limit per longer window: as it is much of the limit stays unused',
      ),
    )
  }
  return checks
}
