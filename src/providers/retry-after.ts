import type { ProviderResponse } from './provider.js'

type Headers = ProviderResponse['headers']

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const IMF_FIXDATE = /^[a-z]{3}, (\d{2}) ([a-z]{3}) (\d{4}) (\d{2}):(\d{2}):(\d{2}) GMT$/i
const RFC850_DATE = /^[a-z]+, (\d{2})-([a-z]{3})-(\d{2}) (\d{2}):(\d{2}):(\d{2}) GMT$/i
const ASCTIME_DATE = /^[a-z]{3} ([a-z]{3}) ([ \d]\d) (\d{2}):(\d{2}):(\d{2}) (\d{4})$/i
const GO_UNIT_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 1e-3,
  µs: 1e-3,
  ns: 1e-6,
}
const GO_DURATION = /^(?:\d+(?:\.\d+)?(?:ms|us|µs|ns|h|m|s))+$/

/** The longest of several hints: a hint is never shortened. */
export function longestMs(...hintsMs: readonly (number | undefined)[]): number | undefined {
  let longest: number | undefined
  for (const hintMs of hintsMs) {
    if (hintMs !== undefined && (longest === undefined || hintMs > longest)) longest = hintMs
  }
  return longest
}

/** How long the headers ask to wait: the longer of `retry-after-ms` and `Retry-After`; garbage counts as absent. */
export function parseRetryAfterMs(headers: Headers, nowMs: number): number | undefined {
  return longestMs(
    ...valuesOf(headers['retry-after-ms']).map((value) => parseNumber(value, 1)),
    ...valuesOf(headers['retry-after']).map((value) => parseNumber(value, 1_000) ?? msUntilHttpDate(value, nowMs)),
  )
}

/** `x-should-retry`: what the provider itself thinks of another attempt. */
export function parseShouldRetry(headers: Headers): boolean | undefined {
  const value = valuesOf(headers['x-should-retry'])[0]?.toLowerCase()
  return value === 'true' ? true : value === 'false' ? false : undefined
}

/** The hint in an error's prose: OpenAI's `try again in 6m0s.`, Gemini's `retry in 42.03s`, Azure's `retry after 22 seconds`. */
export function parseProseRetryMs(message: string): number | undefined {
  const goDuration = /\b(?:try again|retry) in ((?:\d+(?:\.\d+)?(?:ms|h|m|s))+)/i.exec(message)?.[1]
  if (goDuration !== undefined) return parseGoDurationMs(goDuration.toLowerCase())
  const seconds = /\b(?:try again|retry) after (\d+(?:\.\d+)?) ?s(?:econds?)?\b/i.exec(message)?.[1]
  return seconds === undefined ? undefined : parseNumber(seconds, 1_000)
}

/** A duration as Go prints it: `6m0s`, `1h2m3.5s`, `120ms`; undefined when it is none. */
export function parseGoDurationMs(text: string): number | undefined {
  if (text === '0') return 0
  if (!GO_DURATION.test(text)) return undefined
  let totalMs = 0
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)/g)) {
    totalMs += Number(amount) * GO_UNIT_MS[unit!]!
  }
  return wholeMs(totalMs)
}

export function valuesOf(header: string | string[] | undefined): readonly string[] {
  if (header === undefined) return []
  return (Array.isArray(header) ? header : [header]).map((value) => value.trim())
}

function parseNumber(value: string, unitMs: number): number | undefined {
  return /^\d+(\.\d+)?$/.test(value) ? wholeMs(Number(value) * unitMs) : undefined
}

/** Rounded up, so that a hint is never shortened; but for float noise such as 1.1 × 1000. */
function wholeMs(ms: number): number | undefined {
  const whole = Math.ceil(Number(ms.toFixed(3)))
  return Number.isSafeInteger(whole) ? whole : undefined
}

/** The three formats of RFC 9110 section 5.6.7; a date gone by means now. */
function msUntilHttpDate(text: string, nowMs: number): number | undefined {
  const dateMs = parseHttpDateMs(text, nowMs)
  return dateMs === undefined ? undefined : Math.max(0, Math.ceil(dateMs - nowMs))
}

function parseHttpDateMs(text: string, nowMs: number): number | undefined {
  const imf = IMF_FIXDATE.exec(text)
  if (imf) return utcMs(Number(imf[3]), imf[2]!, imf.slice(1, 2).concat(imf.slice(4, 7)))
  const asctime = ASCTIME_DATE.exec(text)
  if (asctime) return utcMs(Number(asctime[6]), asctime[1]!, asctime.slice(2, 6))
  const rfc850 = RFC850_DATE.exec(text)
  if (!rfc850) return undefined
  // Two digits of a year: what would be more than 50 years ahead lies in the past (RFC 9110).
  const thisYear = new Date(nowMs).getUTCFullYear()
  const year = thisYear - (thisYear % 100) + Number(rfc850[3])
  return utcMs(year > thisYear + 50 ? year - 100 : year, rfc850[2]!, [rfc850[1]!, ...rfc850.slice(4, 7)])
}

function utcMs(year: number, monthName: string, dayAndTime: readonly string[]): number | undefined {
  const month = MONTHS.indexOf(monthName.toLowerCase())
  const [day = 0, hour = 0, minute = 0, second = 0] = dayAndTime.map(Number)
  if (month < 0 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) return undefined
  return Date.UTC(year, month, day, hour, minute, second)
}
