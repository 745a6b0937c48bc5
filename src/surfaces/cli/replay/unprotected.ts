import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../../../testing/index.js'
import { type Caller, type CallReport, promptOf } from './caller.js'
import type { WorkerSetup } from './protocol.js'

/** As the openai and zhipu SDKs do out of the box. */
const MAX_RETRIES = 2
const RETRY_BASE_MS = 500
const RETRY_CAP_MS = 8_000
const RETRY_JITTER = 0.25
const MAX_RETRY_AFTER_MS = 60_000

interface Answer {
  /** Undefined when the connection failed. */
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
}

/** Callers without a gate: each request goes out when it is due, and what is refused is retried as an SDK would. */
export function unprotectedCaller({ pool, baseURL, speed, seed }: WorkerSetup): Caller {
  const agent = new Agent({ keepAlive: true })
  const random = seededRandom(seed)
  const url = new URL(`${baseURL}/chat/completions`)
  let refused = 0

  const post = (body: string) =>
    new Promise<Answer>((resolve) => {
      const failed = () => resolve({ status: undefined, headers: {} })
      const headers = {
        authorization: 'Bearer replay',
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
      }
      const outgoing = request(url, { method: 'POST', agent, headers }, (response) => {
        response.once('end', () => resolve({ status: response.statusCode, headers: response.headers }))
        response.once('error', failed)
        response.resume()
      })
      outgoing.once('error', failed)
      outgoing.end(body)
    })

  return {
    maxOpen: Number.POSITIVE_INFINITY,
    get refused() {
      return refused
    },
    async call(contextTokens, generatedTokens): Promise<CallReport> {
      const messages = [{ role: 'user', content: promptOf(contextTokens) }]
      const body = JSON.stringify({ model: pool.model, messages, max_tokens: Math.max(1, generatedTokens) })
      for (let retry = 0; ; retry++) {
        const sinceMs = performance.now()
        const { status, headers } = await post(body)
        const callMs = performance.now() - sinceMs
        if (status === 429) refused++
        if (status !== undefined && status < 400) return { status: 'completed', callMs }
        if (retry >= MAX_RETRIES || !isRetried(status)) return { status: 'failed', callMs }
        await sleep(retryAfterMs(headers) ?? backoffMs(retry, random()) / speed)
      }
    },
    async close() {
      agent.destroy()
    },
  }
}

function isRetried(status: number | undefined): boolean {
  return status === undefined || status === 408 || status === 409 || status === 429 || status >= 500
}

/** What the provider asked for; it counts in its own, faster time already. */
function retryAfterMs(headers: IncomingHttpHeaders): number | undefined {
  const askedMs = Number(headers['retry-after-ms'] ?? Number(headers['retry-after']) * 1000)
  return askedMs > 0 && askedMs < MAX_RETRY_AFTER_MS ? askedMs : undefined
}

function backoffMs(retry: number, random: number): number {
  return Math.min(RETRY_BASE_MS * 2 ** retry, RETRY_CAP_MS) * (1 - random * RETRY_JITTER)
}
