import type { GateOptions, PoolConfig } from '../../../config.js'
import { HeadgateError } from '../../../errors.js'
import { createHeadgate } from '../../../headgate.js'
import { chatUrlOf } from '../../../providers/chat-url.js'
import type { ProviderFailure } from '../../../providers/index.js'
import { type Check, checkOf, msText } from './check.js'

const REACH_LIMIT_MS = 10_000
const CALL_LIMIT_MS = 30_000
const MAX_NAMED = 3

/** Whether a pool's provider can be reached and takes the key, by a GET that costs nothing. */
export async function checkProvider(pool: PoolConfig): Promise<Check> {
  const check = checkOf(`pool.${pool.name}.key`, `${pool.name}: provider`)
  const { provider, apiKey, baseURL } = pool
  const url = provider.keyUrl?.(baseURL) ?? chatUrlOf(baseURL, '/models')
  const { host } = new URL(url)
  const sentMs = performance.now()
  let response: Response
  let text: string
  try {
    const headers = { accept: 'application/json', ...(apiKey !== undefined && provider.authHeaders(apiKey)) }
    // What a redirect leads to is not where calls go, and must not see the key.
    response = await fetch(url, { headers, redirect: 'manual', signal: AbortSignal.timeout(REACH_LIMIT_MS) })
    text = await response.text()
  } catch (error) {
    return check.problem(
      `${host}: ${reasonOf(error)}`,
      "check baseURL, DNS, firewall and proxy: this machine can't reach the provider",
    )
  }
  const took = msText(performance.now() - sentMs)
  const { status } = response
  if (status === 404 || status === 405) {
    return check.skipped(
      `${host} answers (${took}), but has no free way to try the key`,
      'headgate doctor --call makes one small paid call',
    )
  }
  if (status >= 300 && status < 400)
    return check.problem(`${host} redirects (${status})`, 'correct baseURL: calls are not redirected')
  const failure = provider.classify({ status, headers: Object.fromEntries(response.headers), body: bodyOf(text) })
  if (failure) return refusal(check, failure, apiKey, host)
  return check.ok(
    `${host} takes the ${apiKey === undefined ? 'call without a key' : 'key'} (${took})${missing(pool, bodyOf(text))}`,
  )
}

/** One governed call for a single token, which the provider charges for. */
export async function tryCall(pool: PoolConfig, options: GateOptions): Promise<Check> {
  const check = checkOf(`pool.${pool.name}.call`, `${pool.name}: a call`)
  const gate = createHeadgate(options)
  try {
    await gate.ready()
    const messages = [{ role: 'user', content: 'ping' }]
    const body = { model: pool.models[0] }
    const input = { pool: pool.name, messages, body, maxTokens: 1, deadline: CALL_LIMIT_MS }
    const { status, error, waitedMs, calledMs } = await (await gate.spawn(input)).outcome
    if (status === 'completed') {
      return check.ok(`${pool.models[0]} answers in ${msText(calledMs)}, after ${msText(waitedMs)} for its turn`)
    }
    return check.problem(error?.message ?? `it ended as ${status}`, adviceOf(error))
  } catch (error) {
    return check.problem(reasonOf(error), adviceOf(error))
  } finally {
    await gate.close()
  }
}

function refusal(
  check: ReturnType<typeof checkOf>,
  failure: ProviderFailure,
  apiKey: string | undefined,
  host: string,
): Check {
  const said = `${host} refuses: ${failure.message}`
  switch (failure.class) {
    case 'AUTH':
      return apiKey === undefined
        ? check.problem(
            `${host} asks for a key, and none is configured`,
            "set apiKey, or the key's variable in the environment",
          )
        : check.problem(
            said,
            "the key is wrong, expired, or not this endpoint's: copy it anew from the provider's console, and check baseURL",
          )
    case 'BAL':
      return check.problem(said, 'top up the account, or renew its plan')
    case 'BAD':
      return check.skipped(said, 'headgate doctor --call makes one small paid call')
    case 'RLR':
    case 'RLT':
    case 'CONC':
    case 'QUOTA':
      return check.warning(said, 'the key is good and its limit is used up, if not by this fleet then by somebody else')
    default:
      return check.warning(said, 'the provider has trouble of its own: see its status page')
  }
}

function adviceOf(error: unknown): string {
  const code = error instanceof HeadgateError ? error.code : undefined
  if (code === 'AUTH') return 'the key is wrong, expired, or may not use this model'
  if (code === 'BAD_REQUEST')
    return "check the pool's models: the provider does not know the first of them, or not at this baseURL"
  if (code === 'INSUFFICIENT_BALANCE') return 'top up the account, or renew its plan'
  if (code === 'DEADLINE_EXCEEDED') return 'see the limits below: nothing was granted in time'
  return 'see what the provider says'
}

/** Models of the pool that the provider does not list; not all providers list all. */
function missing({ models }: PoolConfig, body: unknown): string {
  const data = (body as { data?: unknown } | null)?.data
  const ids = new Set((Array.isArray(data) ? data : []).map((item) => String(item?.id ?? '').replace(/^models\//, '')))
  const unknown = ids.size === 0 ? [] : models.filter((model) => !ids.has(model))
  if (unknown.length === 0) return ''
  const more = unknown.length > MAX_NAMED ? `, and ${unknown.length - MAX_NAMED} more` : ''
  return `; it does not list ${unknown.slice(0, MAX_NAMED).join(', ')}${more}`
}

function bodyOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** `fetch` says no more than "fetch failed" itself. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return `no answer within ${REACH_LIMIT_MS / 1000} s`
  return error.cause instanceof Error ? error.cause.message || error.message : error.message
}
