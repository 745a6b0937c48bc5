import { InvalidArgumentError } from 'commander'
import { durationMsOf, type Rate, rateOf } from '../../durations.js'

/** Parsers of option values: each says what it expected and what it got. */
function expected(what: string, got: string): never {
  throw new InvalidArgumentError(`expected ${what}, got "${got}"`)
}

export function durationOption(text: string): number {
  return durationMsOf(text) ?? expected("a duration such as '200ms'", text)
}

export function rateOption(text: string): Rate {
  return rateOf(text) ?? expected("a rate such as '50/1m'", text)
}

export function countOption(text: string): number {
  const count = Number(text)
  return Number.isSafeInteger(count) && count >= 1 && text.trim() !== '' ? count : expected('a whole number ≥ 1', text)
}

export function portOption(text: string): number {
  const port = Number(text)
  const valid = Number.isInteger(port) && port >= 0 && port <= 65_535 && text.trim() !== ''
  return valid ? port : expected('a port from 0 to 65535', text)
}

/** How many times faster: above 0. */
export function factorOption(text: string): number {
  const factor = Number(text)
  return factor > 0 && Number.isFinite(factor) ? factor : expected('a number above 0', text)
}

/** A share above 0 and at most 1. */
export function shareOption(text: string): number {
  const share = Number(text)
  return share > 0 && share <= 1 ? share : expected('a share above 0 and at most 1', text)
}

/** `5,2,1@30s`: concurrency 5, after 30 s 2, after another 30 s 1. */
export function ceilingOption(text: string): { values: number[]; everyMs: number } {
  const [list = '', every] = text.split('@')
  const values = list.split(',').map(Number)
  const everyMs = durationMsOf(every)
  const valid = everyMs && values.every((value) => Number.isSafeInteger(value) && value >= 1)
  return valid ? { values, everyMs } : expected("ceilings and an interval such as '5,2,1@30s'", text)
}

/** `0.01:1305`: one request in a hundred fails with that code. */
export function errorRateOption(text: string): { share: number; code: string } {
  const [share, code] = text.split(':')
  return code ? { share: shareOption(share ?? ''), code } : expected("a share and a code such as '0.01:1305'", text)
}

export function oneOf<T extends string>(...choices: readonly T[]): (text: string) => T {
  return (text) => choices.find((choice) => choice === text) ?? expected(`one of ${choices.join(', ')}`, text)
}
