import type { GateOptions, PoolOptions } from '../../src/config.js'
import type { Headgate } from '../../src/gate.js'
import { createHeadgate } from '../../src/headgate.js'

/** Never binding. */
export const WIDE_OPEN: PoolOptions['limits'] = { requests: { limit: 100_000_000, per: '1m' } }

/** A gate of functions: nothing is ever sent. */
export async function functionGate(
  pools: readonly string[],
  limits: PoolOptions['limits'],
  options: Omit<GateOptions, 'pools'> = {},
): Promise<Headgate> {
  const pool = { provider: 'openai-compatible', baseURL: 'http://127.0.0.1:9', ...(limits && { limits }) }
  const gate = createHeadgate({ ...options, pools: Object.fromEntries(pools.map((name) => [name, pool])) })
  await gate.ready()
  return gate
}

export const noop = async (): Promise<number> => 1
