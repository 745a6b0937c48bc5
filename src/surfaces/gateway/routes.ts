import type { PoolConfig, ResolvedConfig } from '../../config.js'
import { type JsonBody, type Route, routeTo } from '../../http/desk.js'
import { Refusal } from '../../http/openai-error.js'

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

/** Where a body's `model` leads. Throws a Refusal for one that no pool has. */
export function routeOf({ poolsByModel }: GatewayView, { model }: JsonBody): Route {
  const route = typeof model === 'string' ? poolsByModel.get(model) : undefined
  if (route) return route
  const known = `expected one of ${[...poolsByModel.keys()].join(', ')}`
  if (typeof model === 'string') {
    const message = `the model ${JSON.stringify(model.slice(0, 100))} does not exist: ${known}`
    throw new Refusal(404, message, { code: 'model_not_found', param: 'model' })
  }
  throw new Refusal(400, `model: ${known}`, { code: 'bad_request', param: 'model' })
}

/** Keys from HEADGATE_API_KEYS, separated by commas. */
function apiKeysOf(env: NodeJS.ProcessEnv): string[] {
  const keys = (env.HEADGATE_API_KEYS ?? '').split(',').map((key) => key.trim())
  return keys.filter((key) => key !== '')
}
