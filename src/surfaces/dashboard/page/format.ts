import type { LimitStatus } from '../../../monitoring.js'

const COUNT = new Intl.NumberFormat('en')
const COMPACT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 })

export function count(value: number): string {
  return value < 100_000 ? COUNT.format(value) : COMPACT.format(value)
}

/** A number where there is little room: `9,999`, `12.1K`. */
export function shortCount(value: number): string {
  return value < 10_000 ? COUNT.format(value) : COMPACT.format(value)
}

export function percent(share: number | null): string {
  if (share === null) return '–'
  const text = (share * 100).toFixed(share > 0.9995 || share < 0.0995 ? 2 : 1)
  return `${text.replace(/\.?0+$/, '')} %`
}

/** A time in three digits or so: `0 ms`, `340 ms`, `1.2 s`, `3 min 5 s`, `2 h`. */
export function duration(valueMs: number | null): string {
  if (valueMs === null) return '–'
  if (valueMs < 999.5) return `${Math.round(valueMs)} ms`
  const seconds = valueMs / 1000
  if (seconds < 59.5) return `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`
  const [minutes, rest] = [Math.floor(Math.round(seconds) / 60), Math.round(seconds) % 60]
  if (minutes < 10) return rest === 0 ? `${minutes} min` : `${minutes} min ${rest} s`
  return minutes < 120
    ? `${minutes} min`
    : minutes < 2880
      ? `${Math.round(minutes / 60)} h`
      : `${Math.round(minutes / 1440)} d`
}

const UNITS = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1_000, 'second'],
] as const

/** What a limit is about, in words. */
export function limitName({ kind, windowMs }: LimitStatus): string {
  if (kind === 'concurrency' || windowMs === undefined) return 'in flight'
  const [unitMs, unit] = UNITS.find(([size]) => windowMs % size === 0) ?? [1, 'ms']
  const number = windowMs / unitMs
  return `${kind === 'tokens' ? 'LLM tokens' : kind} / ${number === 1 ? unit : `${number} ${unit}s`}`
}

export function clockTime(atMs: number): string {
  return new Date(atMs).toLocaleTimeString('en-GB')
}
