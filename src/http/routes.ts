import type { PoolConfig } from '../config.js'
import { poolsByModel } from '../models.js'
import type { Provider } from '../providers/index.js'
import { Refusal } from './openai-error.js'

/** Where a call goes: to one pool, or to whichever of those that serve its model. */
export interface Route {
  /** Undefined where several pools serve the model. */
  readonly pool: string | undefined
  /** What is asked for; undefined for what the body says, or the pool's first. */
  readonly model: string | undefined
  readonly pools: readonly string[]
  /** The pools', in their order; all speak one wire. */
  readonly providers: readonly [Provider, ...Provider[]]
  /** The pools' own, which no answer may repeat. */
  readonly apiKeys: readonly string[]
  /** Requests per ms that the pools' own limits allow; Infinity without one. */
  readonly maxPerMs: number
}

/** To this pool. */
export function routeTo(pool: PoolConfig, model?: string): Route {
  return { ...routeOver([pool], model), pool: pool.name }
}

/** By everything that `model` may say: the pools' models, and the pools' names, which mean a pool's first model. */
export function routesOf(pools: Iterable<PoolConfig>): ReadonlyMap<string, Route> {
  const all = [...pools]
  const routes = new Map<string, Route>()
  for (const [model, serving] of poolsByModel(all)) {
    routes.set(model, serving.length === 1 ? routeTo(serving[0]!, model) : routeOver(serving, model))
  }
  // A model's name wins over a pool's.
  for (const pool of all) if (!routes.has(pool.name)) routes.set(pool.name, routeTo(pool, pool.models[0] ?? pool.name))
  return routes
}

/** Where a body's `model` leads. Throws a Refusal for one that no pool has. */
export function routeOf(routes: ReadonlyMap<string, Route>, { model }: Readonly<Record<string, unknown>>): Route {
  const route = typeof model === 'string' ? routes.get(model) : undefined
  if (route) return route
  const known = `expected one of ${[...routes.keys()].join(', ')}`
  if (typeof model === 'string') {
    const message = `the model ${JSON.stringify(model.slice(0, 100))} does not exist: ${known}`
    throw new Refusal(404, message, { code: 'model_not_found', param: 'model' })
  }
  throw new Refusal(400, `model: ${known}`, { code: 'bad_request', param: 'model' })
}

function routeOver(pools: readonly PoolConfig[], model: string | undefined): Route {
  return {
    pool: undefined,
    model,
    pools: pools.map(({ name }) => name),
    providers: pools.map(({ provider }) => provider) as [Provider, ...Provider[]],
    apiKeys: pools.flatMap(({ apiKey }) => apiKey ?? []),
    maxPerMs: pools.reduce((sum, pool) => sum + maxPerMsOf(pool), 0),
  }
}

function maxPerMsOf({ limits }: PoolConfig): number {
  return Math.min(Number.POSITIVE_INFINITY, ...limits.requests.map(({ limit, windowMs }) => limit / windowMs))
}
