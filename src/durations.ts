import ms from 'ms'
import { HeadgateError } from './errors.js'

/** From the instant a grant names to the last moment its request may be written to the socket. */
export const SLACK_MS = 50

/** So many per window. */
export interface Rate {
  readonly limit: number
  readonly windowMs: number
}

/** Who writes `30` as a text may mean seconds, and would get milliseconds. */
const HAS_UNIT = /[a-z]$|^0$/i

/** With a unit: who writes `50/60` means seconds, and would get milliseconds. */
const RATE = /^\s*(\d+)\s*\/\s*(\S.*?[a-z])\s*$/i

/** Whole ms from a number of ms or a duration such as `30s`; undefined for anything else: below 0, or a text without a unit. */
export function durationMsOf(value: unknown): number | undefined {
  const amountMs = typeof value === 'string' ? msOf(value) : value
  if (typeof amountMs !== 'number') return undefined
  const wholeMs = Math.round(amountMs)
  return Number.isSafeInteger(wholeMs) && amountMs >= 0 ? wholeMs : undefined
}

function msOf(text: string): number | undefined {
  // `ms` answers undefined for what it can't read, whatever its types say.
  const trimmed = text.trim()
  return HAS_UNIT.test(trimmed) ? ms(trimmed as ms.StringValue) : undefined
}

/** A rate such as `50/1m`; undefined for anything else. */
export function rateOf(text: string): Rate | undefined {
  const [, limitText, windowText] = RATE.exec(text) ?? []
  const limit = Number(limitText)
  const windowMs = durationMsOf(windowText)
  return Number.isSafeInteger(limit) && limit >= 1 && windowMs ? { limit, windowMs } : undefined
}

/** Whole ms from a number of ms or a duration such as `30s`. Throws CONFIG_INVALID for anything else. */
export function parseDurationMs(value: number | string): number {
  return durationMsOf(value) ?? invalid("ms (a number) or a duration such as '30s'", value)
}

/** A rate such as `50/1m`. Throws CONFIG_INVALID for anything else. */
export function parseRate(text: string): Rate {
  return rateOf(text) ?? invalid("a rate such as '50/1m'", text)
}

function invalid(expected: string, got: unknown): never {
  const shown = typeof got === 'string' ? JSON.stringify(got.slice(0, 100)) : String(got)
  throw new HeadgateError('CONFIG_INVALID', `expected ${expected}, got ${shown}`)
}
