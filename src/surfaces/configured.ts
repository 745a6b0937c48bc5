import { configFromEnv, type GateOptions, loadConfigFile } from '../config.js'
import { HeadgateError } from '../errors.js'
import { type Simulator, startSimulator } from '../testing/index.js'

/** A small account, as a GLM of one's own might be. */
export const SIMULATED_MODEL = 'glm-4-plus'
const SIMULATED_LATENCY_MS = 300
const POOL_LIMITS = { requests: '50/1m', concurrency: 5 }
const SIMULATED_LIMITS = { requests: [{ limit: 50, windowMs: 60_000 }], concurrency: 5 }

/**
 * The gate's options from the file, or from the environment alone, which may have no pool.
 * Throws CONFIG_INVALID for what can't be read, and for a file without a pool.
 */
export async function loadOptions(file: string | undefined, env: NodeJS.ProcessEnv): Promise<GateOptions> {
  if (file === undefined) return configFromEnv(env)
  const options = await loadConfigFile(file, env)
  if (Object.keys(options.pools ?? {}).length > 0) return options
  throw new HeadgateError('CONFIG_INVALID', `no pool is configured: ${file} has no "pools"`)
}

/** These options; where they have no pool, a simulated provider to try it with. */
export async function configured(
  file: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<{ config: GateOptions; simulator?: Simulator }> {
  const config = await loadOptions(file, env)
  if (Object.keys(config.pools).length > 0) return { config }
  const simulator = await startSimulator({ profile: 'glm', latencyMs: SIMULATED_LATENCY_MS, ...SIMULATED_LIMITS })
  const { baseURL } = simulator
  const pool = { provider: 'glm', apiKey: 'simulated', baseURL, models: [SIMULATED_MODEL], limits: POOL_LIMITS }
  return { config: { ...config, pools: { simulator: pool } }, simulator }
}
