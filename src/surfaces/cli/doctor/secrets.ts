import type { GateOptions } from '../../../config.js'

/** Shorter ones would blot out ordinary words. */
const LEAST_CHARS = 4

/** Every key and password that this config holds, in each form in which somebody might echo it. */
export function secretsOf(options: GateOptions | undefined, env: NodeJS.ProcessEnv): string[] {
  const { redis } = options ?? {}
  const fromPools = Object.values(options?.pools ?? {}).map(({ apiKey }) => apiKey)
  const fromEnv = Object.entries(env).flatMap(([name, value]) =>
    /_API_KEYS?$/.test(name) ? [value, ...(value ?? '').split(',')] : [],
  )
  const passwords = [passwordIn(redis), passwordIn(env.REDIS_URL)]
  const all = [
    ...fromPools,
    ...fromEnv,
    ...passwords.flatMap((password) => [password, password && encodeURIComponent(password)]),
  ]
  const known = all.filter((text): text is string => typeof text === 'string' && text.trim().length >= LEAST_CHARS)
  // Longest first: one may hold another.
  return [...new Set(known.map((text) => text.trim()))].sort((a, b) => b.length - a.length)
}

/** The text without them. */
export function scrub(text: string, secrets: readonly string[]): string {
  return secrets.reduce((clean, secret) => clean.replaceAll(secret, '[secret]'), text)
}

function passwordIn(redis: unknown): string | undefined {
  if (typeof redis === 'object' && redis !== null) {
    const { password } = redis as { password?: unknown }
    return typeof password === 'string' ? password : undefined
  }
  if (typeof redis !== 'string' || !URL.canParse(redis)) return undefined
  try {
    return decodeURIComponent(new URL(redis).password) || undefined
  } catch {
    return new URL(redis).password || undefined
  }
}
