import { setTimeout as sleep } from 'node:timers/promises'
import { connectionOf, type Join, load, type PeerJob, rateOf } from './peer.js'

interface RateLimiterFlexible {
  readonly RateLimiterRedis: new (options: object) => { consume(key: string, points: number): Promise<unknown> }
  readonly RateLimiterQueue: new (limiter: object, options: object) => { removeTokens(count: number): Promise<unknown> }
}
interface IoRedis {
  readonly Redis: new (
    options: object,
  ) => {
    evalsha(sha: string, keys: number, ...args: unknown[]): Promise<unknown>
    eval(script: string, keys: number, ...args: unknown[]): Promise<unknown>
  }
}

const KEY = 'bench'

function rateLimiterRedis(job: PeerJob) {
  const { RateLimiterRedis, RateLimiterQueue } = load<RateLimiterFlexible>(job.home, 'rate-limiter-flexible')
  const { Redis } = load<IoRedis>(job.home, 'ioredis')
  const { limit, windowMs } = rateOf(job)
  const storeClient = new Redis(connectionOf(job))
  return { limiter: new RateLimiterRedis({ storeClient, points: limit, duration: windowMs / 1_000 }), RateLimiterQueue }
}

export const rateLimiterQueue: Join = async (job, call) => {
  const { limiter, RateLimiterQueue } = rateLimiterRedis(job)
  const queue = new RateLimiterQueue(limiter, { maxQueueSize: job.outstanding * 2 })
  return {
    async submit(arrival) {
      await queue.removeTokens(job.weighted ? arrival.weight : 1)
      await call(arrival)
    },
  }
}

/** Its limiter alone, and each refused request waits for as long as it says. */
export const rateLimiterAlone: Join = async (job, call) => {
  const { limiter } = rateLimiterRedis(job)
  const consume = async (points: number): Promise<void> => {
    for (;;) {
      try {
        await limiter.consume(KEY, points)
        return
      } catch (refusal) {
        const { msBeforeNext } = refusal as { msBeforeNext?: number }
        if (msBeforeNext === undefined) throw refusal
        await sleep(msBeforeNext)
      }
    }
  }
  return {
    async submit(arrival) {
      await consume(job.weighted ? arrival.weight : 1)
      await call(arrival)
    },
  }
}

interface Upstash {
  readonly Ratelimit: {
    new (options: object): { blockUntilReady(id: string, timeoutMs: number): Promise<{ success: boolean }> }
    slidingWindow(limit: number, window: string): object
  }
}

/** Its sliding window, which is made for Redis over HTTP, on a TCP connection like the others. */
export const upstash: Join = async (job, call) => {
  const { Ratelimit } = load<Upstash>(job.home, '@upstash/ratelimit')
  const { Redis } = load<IoRedis>(job.home, 'ioredis')
  const { limit, windowMs } = rateOf(job)
  const client = new Redis(connectionOf(job))
  const redis = {
    evalsha: (sha: string, keys: string[], args: unknown[]) => client.evalsha(sha, keys.length, ...keys, ...args),
    eval: (script: string, keys: string[], args: unknown[]) => client.eval(script, keys.length, ...keys, ...args),
  }
  const ratelimit = new Ratelimit({ redis, limiter: Ratelimit.slidingWindow(limit, `${windowMs} ms`), timeout: 0 })
  return {
    async submit(arrival) {
      const { success } = await ratelimit.blockUntilReady(KEY, 60_000)
      if (success) await call(arrival)
    },
  }
}
