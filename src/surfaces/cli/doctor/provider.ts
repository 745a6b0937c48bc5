import type { GateOptions, PoolConfig } from '../../../config.js'
import { HeadgateError } from '../../../errors.js'
import { createHeadgate } from '../../../headgate.js'
import { chatUrlOf } from '../../../providers/chat-url.js'
import type { ProviderFailure } from '../../../providers/index.js'
import { type Check, checkOf, msText } from './check.js'

const REACH_LIMIT_MS = 10_000
const CALL_LIMIT_MS = 30_000
const MAX_NAMED = 3

/** Whether a pool's provider can be reached, takes the key and has the models, by a GET that costs nothing. */
export async function checkProvider(pool: PoolConfig): Promise<Check[]> {
  const { provider, baseURL } = pool
  const url = provider.keyUrl?.(baseURL) ?? chatUrlOf(baseURL, '/models')
  const { check, body } = await tryKey(pool, url)
  // Where the key is tried elsewhere, the answer has no models, or other names for them (Azure: not its deployments').
  return check.status === 'ok' && !provider.keyUrl ? [check, ...judgeModels(pool, body)] : [check]
}

interface Tried {
  readonly check: Check
  readonly body?: unknown
}

async function tryKey(pool: PoolConfig, url: string): Promise<Tried> {
  const check = checkOf(`pool.${pool.name}.key`, `${pool.name}: provider`)
  const { provider, apiKey } = pool
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
    const advice = "check baseURL, DNS, firewall and proxy: this machine can't reach the provider"
    return { check: check.problem(`${host}: ${reasonOf(error)}`, advice) }
  }
  const took = msText(performance.now() - sentMs)
  const { status } = response
  if (status === 404 || status === 405) {
    const said = `${host} answers (${took}), but has no free way to try the key`
    return { check: check.skipped(said, 'headgate doctor --call makes one small paid call') }
  }
  if (status >= 300 && status < 400) {
    return { check: check.problem(`${host} redirects (${status})`, 'correct baseURL: calls are not redirected') }
  }
  const body = bodyOf(text)
  const failure = provider.classify({ status, headers: Object.fromEntries(response.headers), body })
  if (failure) return { check: refusal(check, failure, apiKey, host) }
  return { check: check.ok(`${host} takes the ${apiKey === undefined ? 'call without a key' : 'key'} (${took})`), body }
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

/** Models of the pool that the provider does not list. A warning: not all providers list all. */
function judgeModels({ name, models }: PoolConfig, body: unknown): Check[] {
  const data = (body as { data?: unknown } | null)?.data
  const listed = (Array.isArray(data) ? data : []).map((item) => String(item?.id ?? '').replace(/^models\//, ''))
  // Ollama lists the tag that it would take.
  const ids = new Set([...listed, ...listed.map((id) => id.replace(/:latest$/, ''))])
  const unknown = ids.size === 0 ? [] : models.filter((model) => !ids.has(model))
  if (unknown.length === 0) return []
  const advice = `unless the provider takes names that it does not list (doctor --call tries one), correct the pool's models: it lists ${some(listed.sort(closestTo(unknown[0]!)))}`
  return [
    checkOf(`pool.${name}.models`, `${name}: models`).warning(`the provider does not list ${some(unknown)}`, advice),
  ]
}

function some(names: readonly string[]): string {
  const more = names.length > MAX_NAMED ? `, and ${names.length - MAX_NAMED} more` : ''
  return names.slice(0, MAX_NAMED).join(', ') + more
}

/** Names that begin like it first. */
function closestTo(model: string): (a: string, b: string) => number {
  const common = (name: string) => {
    let length = 0
    while (length < name.length && name[length] === model[length]) length++
    return length
  }
  return (a, b) => common(b) - common(a) || a.localeCompare(b)
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
