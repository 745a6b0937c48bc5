import { createHeadgate } from '../../src/headgate.js'
import type { Join } from './peer.js'

interface Choice {
  readonly redis: boolean
  /** Default: the pool's. */
  readonly guardMs?: number
}

/** The public gate, each request with its actor. */
export const headgate =
  ({ redis, guardMs }: Choice): Join =>
  async ({ redisPort, rate, weighted, slots }, call) => {
    const limits = {
      ...(rate && { [weighted ? 'tokens' : 'requests']: { limit: rate.limit, per: rate.windowMs } }),
      ...(slots !== undefined && { concurrency: slots }),
    }
    const pool = { provider: 'openai-compatible', baseURL: 'http://127.0.0.1:9', limits, adaptive: false }
    const gate = createHeadgate({
      ...(redis && { redis: `redis://127.0.0.1:${redisPort}` }),
      pools: { p: { ...pool, ...(guardMs !== undefined && { guardMs }) } },
    })
    await gate.ready()
    return {
      submit: (arrival) => gate.run({ pool: 'p', estimatedTokens: arrival.weight }, () => call(arrival)),
    }
  }
