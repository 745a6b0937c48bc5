// Limits as providers tell them in headers, in every format there is. Pure; what is garbage counts as absent.
import type { ProviderResponse } from './provider.js'
import { parseGoDurationMs, valuesOf } from './retry-after.js'

type Headers = ProviderResponse['headers']

const SECOND_MS = 1_000
const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** No window is longer: a reset beyond it is a date in disguise, or nonsense. */
const MAX_RESET_MS = 366 * DAY_MS
const MAX_MEMBERS = 32
const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/

/** What one response says about one limit; at least one of `limit`, `remaining` and `resetMs` is there. */
export interface LimitObservation {
  readonly dimension: 'requests' | 'tokens' | 'concurrency'
  /** Of tokens, where prompt and completion have limits of their own; left out: both together. */
  readonly part?: 'prompt' | 'completion'
  /** Where the provider says it, or has only the one. */
  readonly windowMs?: number
  readonly limit?: number
  readonly remaining?: number
  /** From now until it is whole again, or until its window ends. */
  readonly resetMs?: number
}

type Facts = Pick<LimitObservation, 'limit' | 'remaining' | 'resetMs'>

/** Every format is looked for, so that a gateway in front of a provider may speak its own. */
export function limitObservations(
  { headers }: Pick<ProviderResponse, 'headers'>,
  nowMs: number = Date.now(),
): readonly LimitObservation[] {
  return observe(headers, nowMs, MINUTE_MS)
}

/** Groq's `-requests` are of a day, with the same names that are of a minute elsewhere. */
export function limitObservationsOfDay(
  { headers }: Pick<ProviderResponse, 'headers'>,
  nowMs: number = Date.now(),
): readonly LimitObservation[] {
  return observe(headers, nowMs, DAY_MS)
}

function observe(headers: Headers, nowMs: number, requestsWindowMs: number): readonly LimitObservation[] {
  // Most responses have none, and every one comes by here.
  if (!hasAny(headers)) return []
  return [
    ...openaiFormat(headers, requestsWindowMs),
    ...anthropicFormat(headers, nowMs),
    ...mistralFormat(headers),
    ...ietfFormat(headers),
  ]
}

/** All formats have it in their names. */
function hasAny(headers: Headers): boolean {
  for (const name in headers) if (name.includes('ratelimit')) return true
  return false
}

/** `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; Azure sends no more than what remains. */
function openaiFormat(headers: Headers, requestsWindowMs: number): readonly LimitObservation[] {
  return (['requests', 'tokens'] as const).flatMap((dimension) =>
    observation(
      { dimension, windowMs: dimension === 'requests' ? requestsWindowMs : MINUTE_MS },
      {
        limit: countIn(headers, `x-ratelimit-limit-${dimension}`),
        remaining: countIn(headers, `x-ratelimit-remaining-${dimension}`),
        resetMs: boundedMs(parseGoDurationMs(textIn(headers, `x-ratelimit-reset-${dimension}`))),
      },
    ),
  )
}

const ANTHROPIC_LIMITS = [
  ['requests', { dimension: 'requests' }],
  ['tokens', { dimension: 'tokens' }],
  ['input-tokens', { dimension: 'tokens', part: 'prompt' }],
  ['output-tokens', { dimension: 'tokens', part: 'completion' }],
] as const

/** `anthropic-ratelimit-…-{limit,remaining,reset}`; the reset is the time at which the bucket is full again. */
function anthropicFormat(headers: Headers, nowMs: number): readonly LimitObservation[] {
  return ANTHROPIC_LIMITS.flatMap(([name, what]) => {
    const prefix = `anthropic-ratelimit-${name}`
    return observation(
      { ...what, windowMs: MINUTE_MS },
      {
        limit: countIn(headers, `${prefix}-limit`),
        remaining: countIn(headers, `${prefix}-remaining`),
        resetMs: msUntil(textIn(headers, `${prefix}-reset`), nowMs),
      },
    )
  })
}

const MISTRAL_LIMITS = [
  ['req-second', 'requests', SECOND_MS],
  ['req-minute', 'requests', MINUTE_MS],
  ['tokens-minute', 'tokens', MINUTE_MS],
] as const

/** `x-ratelimit-{limit,remaining}-tokens-minute` and its like, before that `ratelimitbysize-…` with a reset in seconds. */
function mistralFormat(headers: Headers): readonly LimitObservation[] {
  const current = MISTRAL_LIMITS.flatMap(([name, dimension, windowMs]) =>
    observation(
      { dimension, windowMs },
      {
        limit: countIn(headers, `x-ratelimit-limit-${name}`),
        remaining: countIn(headers, `x-ratelimit-remaining-${name}`),
      },
    ),
  )
  if (current.some(({ dimension }) => dimension === 'tokens')) return current
  const former = observation(
    { dimension: 'tokens', windowMs: MINUTE_MS },
    {
      limit: countIn(headers, 'ratelimitbysize-limit'),
      remaining: countIn(headers, 'ratelimitbysize-remaining'),
      resetMs: secondsOf(textIn(headers, 'ratelimitbysize-reset')),
    },
  )
  return [...current, ...former]
}

/** Units of a policy; bytes of content are no dimension here. */
const DIMENSION_OF_UNIT: ReadonlyMap<string, LimitObservation['dimension']> = new Map([
  ['requests', 'requests'],
  ['concurrent-requests', 'concurrency'],
])

/**
 * IETF draft 11: `RateLimit-Policy: "burst";q=100;w=60` and `RateLimit: "burst";r=50;t=30`, joined by name.
 * Where there is no such `RateLimit`, the fields of older drafts.
 */
function ietfFormat(headers: Headers): readonly LimitObservation[] {
  const policies = membersOf(headers['ratelimit-policy'])
  const states = membersOf(headers.ratelimit)
  const named = policies.filter(({ params }) => params.has('q'))
  const names = new Set([...named, ...states].map(({ name }) => name))
  const found = [...names].flatMap((name) => {
    const policy = named.find((member) => member.name === name)?.params
    const state = states.find((member) => member.name === name)?.params
    const dimension = DIMENSION_OF_UNIT.get(policy?.get('qu') ?? 'requests')
    if (!dimension) return []
    const windowMs = windowOf(policy?.get('w'))
    const resetMs = secondsOf(state?.get('t'))
    return observation(
      { dimension, ...(windowMs !== undefined && { windowMs }) },
      { limit: countOf(policy?.get('q')), remaining: countOf(state?.get('r')), resetMs },
    )
  })
  return found.length > 0 ? found : olderIetfFormat(headers, policies)
}

/** `RateLimit-Limit: 100, 100;w=60`, `RateLimit-Remaining`, `RateLimit-Reset` (seconds from now), `RateLimit-Policy: 100;w=60`. */
function olderIetfFormat(headers: Headers, policies: readonly Member[]): readonly LimitObservation[] {
  const [first, ...more] = membersOf(headers['ratelimit-limit'])
  const policy = [...more, ...policies].find(({ name, params }) => name === first?.name && params.has('w'))
  const windowMs = windowOf(first?.params.get('w') ?? policy?.params.get('w'))
  return observation(
    { dimension: 'requests', ...(windowMs !== undefined && { windowMs }) },
    {
      limit: countOf(first?.name),
      remaining: countIn(headers, 'ratelimit-remaining'),
      resetMs: secondsOf(textIn(headers, 'ratelimit-reset')),
    },
  )
}

interface Member {
  readonly name: string
  readonly params: ReadonlyMap<string, string>
}

const ITEM = /[ \t]*(?:"((?:[^"\\]|\\.)*)"|([\w.*/:-]+))/y
const PARAM = /[ \t]*;[ \t]*([a-z*][\w.*-]*)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+)))?/y
const NEXT = /[ \t]*(,|$)/y

/** The members of a structured field's list (RFC 9651); a list that breaks off in between counts as absent, as it says. */
function membersOf(header: string | string[] | undefined): readonly Member[] {
  const text = valuesOf(header).join(',')
  const members: Member[] = []
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match) at = pattern.lastIndex
    return match
  }
  while (at < text.length && members.length < MAX_MEMBERS) {
    const item = take(ITEM)
    if (!item) return []
    const params = new Map<string, string>()
    for (let param = take(PARAM); param; param = take(PARAM)) params.set(param[1]!, param[2] ?? param[3] ?? '')
    members.push({ name: item[1] ?? item[2] ?? '', params })
    if (!take(NEXT)) return []
  }
  return members
}

/** One observation, or none where there is nothing to observe. */
function observation(
  what: Pick<LimitObservation, 'dimension' | 'part' | 'windowMs'>,
  facts: { readonly [K in keyof Facts]: Facts[K] | undefined },
): readonly LimitObservation[] {
  const known = Object.entries(facts).filter(([, value]) => value !== undefined)
  return known.length > 0 ? [{ ...what, ...(Object.fromEntries(known) as Facts) }] : []
}

function textIn(headers: Headers, name: string): string {
  return valuesOf(headers[name])[0] ?? ''
}

function countIn(headers: Headers, name: string): number | undefined {
  return countOf(textIn(headers, name))
}

/** A whole number; Azure's -1 (not known) is none. */
function countOf(text: string | undefined): number | undefined {
  const count = text !== undefined && /^\d+$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(count) ? count : undefined
}

function windowOf(text: string | undefined): number | undefined {
  return boundedMs((countOf(text) ?? Number.NaN) * SECOND_MS) || undefined
}

function secondsOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+(?:\.\d+)?$/.test(text) ? boundedMs(Math.ceil(Number(text) * SECOND_MS)) : undefined
}

function msUntil(text: string, nowMs: number): number | undefined {
  return RFC3339.test(text) ? boundedMs(Math.max(0, Math.ceil(Date.parse(text) - nowMs))) : undefined
}

function boundedMs(ms: number | undefined): number | undefined {
  return ms !== undefined && ms <= MAX_RESET_MS ? ms : undefined
}
