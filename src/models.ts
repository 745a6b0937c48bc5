import type { PoolConfig } from './config.js'
import { problem } from './config-problems.js'
import { wireOf } from './providers/apis.js'

/** The pools behind each model that they list, in the order of the configuration. */
export function poolsByModel(pools: Iterable<PoolConfig>): Map<string, PoolConfig[]> {
  const byModel = new Map<string, PoolConfig[]>()
  for (const pool of pools) {
    for (const model of pool.models) byModel.set(model, [...(byModel.get(model) ?? []), pool])
  }
  return byModel
}

/** A request can go over to another pool of its model only if that speaks as it does. */
export function mixedWires(pools: ReadonlyMap<string, PoolConfig>): string[] {
  return [...poolsByModel(pools.values())].flatMap(([model, [first, ...others]]) => {
    const odd = others.find(({ provider }) => wireOf(provider) !== wireOf(first!.provider))
    if (!odd) return []
    const expected = `a name that pool ${first!.name} does not list, which speaks ${wireOf(first!.provider)}’s wire`
    return [problem(['pools', odd.name, 'models'], expected, model)]
  })
}
