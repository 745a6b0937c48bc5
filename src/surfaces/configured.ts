import { configFromEnv, type GateOptions, loadConfigFile } from '../config.js'
import { HeadgateError } from '../errors.js'
import { type Simulator, startSimulator } from '../testing/index.js'

/** A small account, as a GLM of one's own might be. */
export const SIMULATED_MODEL = 'glm-4-plus'
const SIMULATED_LATENCY_MS = 300
const POOL_LIMITS = { requests: '50/1m', concurrency: 5 }
const SIMULATED_LIMITS = { requests: [{ limit: 50, windowMs: 60_000 }], concurrency: 5 }

/** The gate's options from a file or the environment; where neither has a pool, a simulated provider to try it with. */
export async function configured(
  file: string | undefined,
  env: NodeJS.ProcessEnv,
): Promise<{ config: GateOptions; simulator?: Simulator }> {
  if (file !== undefined) {
    const config = await loadConfigFile(file, env)
    if (Object.keys(config.pools ?? {}).length > 0) return { config }
    throw new HeadgateError('CONFIG_INVALID', `no pool is configured: ${file} has no "pools"`)
  }
  const config = configFromEnv(env)
  if (Object.keys(config.pools).length > 0) return { config }
  const simulator = await startSimulator({ profile: 'glm', latencyMs: SIMULATED_LATENCY_MS, ...SIMULATED_LIMITS })
  const { baseURL } = simulator
  const pool = { provider: 'glm', apiKey: 'simulated', baseURL, models: [SIMULATED_MODEL], limits: POOL_LIMITS }
  return { config: { ...config, pools: { simulator: pool } }, simulator }
}
