// Runs a reasoner against the simulated provider, so that it needs no key: `--degraded` makes that provider overloaded.
// Yours: leave the simulator out, and baseURL with it.
import { pathToFileURL } from 'node:url'
import { createHeadgate } from 'headgate'
import { startSimulator } from 'headgate/testing'

/** Does nothing unless `url` is the file that node was told to run. */
export async function runSimulated(url, { reason, answer }) {
  if (url !== pathToFileURL(process.argv[1]).href) return
  const provider = await startSimulator({ profile: 'glm', concurrency: 2, latencyMs: 50, answer })
  if (process.argv.includes('--degraded')) provider.failNext('1305', 100)
  const gate = createHeadgate({
    redis: process.env.REDIS_URL,
    pools: {
      'glm-4-plus': {
        provider: 'glm',
        apiKey: process.env.GLM_API_KEY ?? 'any',
        baseURL: provider.baseURL,
        limits: { requests: { limit: 50, per: '1m' }, concurrency: 2 },
        retry: { maxAttempts: 2, baseMs: 50, capMs: 100 },
        degradedMessage: '抱歉,系统繁忙,请稍后重试。',
      },
    },
  })
  console.log(JSON.stringify(await reason(gate)))
  await gate.close()
  await provider.close()
}
