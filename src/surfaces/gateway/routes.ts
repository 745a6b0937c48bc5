import type { PoolConfig, ResolvedConfig } from '../../config.js'
import { type Route, routeTo } from '../../http/desk.js'

/** What the gateway knows of a gate's configuration. */
export interface GatewayView {
  /** By everything that `model` may say: the pools' models, and the pools' names, which mean a pool's first model. */
  readonly poolsByModel: ReadonlyMap<string, Route>
  /** Clients must show one of these; empty for none. */
  readonly apiKeys: readonly string[]
}

/** A model that several pools list belongs to the first; a model's name wins over a pool's. */
export function gatewayView({ pools }: ResolvedConfig, env: NodeJS.ProcessEnv): GatewayView {
  const poolsByModel = new Map<string, Route>()
  const add = (name: string, pool: PoolConfig, model: string) => {
    if (!poolsByModel.has(name)) poolsByModel.set(name, routeTo(pool, model))
  }
  for (const pool of pools.values()) for (const model of pool.models) add(model, pool, model)
  for (const pool of pools.values()) add(pool.name, pool, pool.models[0] ?? pool.name)
  return { poolsByModel, apiKeys: apiKeysOf(env) }
}

/** Keys from HEADGATE_API_KEYS, separated by commas. */
function apiKeysOf(env: NodeJS.ProcessEnv): string[] {
  const keys = (env.HEADGATE_API_KEYS ?? '').split(',').map((key) => key.trim())
  return keys.filter((key) => key !== '')
}
