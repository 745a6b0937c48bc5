// When a provider's day ends, and dates in its prose. Pure; every time is epoch ms.

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Providers in China name times and end their days in Beijing's, which has no summer time. */
const BEIJING_MS = 8 * HOUR_MS
const DATE =
  /(\d{4})[-/年](\d{1,2})[-/月](\d{1,2})日?[T ]?(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\.\d+)?(Z\b|[+-]\d{2}:?\d{2}\b| ?(?:UTC|GMT)(?:[+-]\d{1,2}\b)?)?/g

/** The next midnight in Beijing. */
export function beijingMidnightMs(nowMs: number): number {
  return Math.floor((nowMs + BEIJING_MS) / DAY_MS + 1) * DAY_MS - BEIJING_MS
}

/** The next midnight in California, where Google's quotas of a day begin anew; summer time comes and goes there. */
export function pacificMidnightMs(nowMs: number): number {
  const midnightMs = nowMs + DAY_MS - pacificTimeOfDayMs(nowMs)
  // On a day of 23 or 25 hours that lands an hour beside it.
  const besideMs = pacificTimeOfDayMs(midnightMs)
  return besideMs > DAY_MS / 2 ? midnightMs + DAY_MS - besideMs : midnightMs - besideMs
}

function pacificTimeOfDayMs(atMs: number): number {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: 'America/Los_Angeles',
    hourCycle: 'h23',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  const parts = format.formatToParts(atMs)
  const [hour = 0, minute = 0, second = 0] = (['hour', 'minute', 'second'] as const).map((type) =>
    Number(parts.find((part) => part.type === type)?.value),
  )
  // Its offset is whole minutes, so what is below a second is the same in every zone.
  return hour * HOUR_MS + minute * 60_000 + second * 1_000 + (((atMs % 1_000) + 1_000) % 1_000)
}

/** The latest of the dates that a text names, in Beijing time unless it says another zone; undefined for none. */
export function latestDateMs(text: string): number | undefined {
  let latestMs: number | undefined
  for (const [, year, month, day, hour, minute, second = '0', zone] of text.matchAll(DATE)) {
    const [m = 0, d = 0, h = 0, min = 0, s = 0] = [month, day, hour, minute, second].map(Number)
    if (m < 1 || m > 12 || d < 1 || d > 31 || h > 24 || min > 59 || s > 60) continue
    const dateMs = Date.UTC(Number(year), m - 1, d, h, min, s) - zoneMs(zone)
    if (latestMs === undefined || dateMs > latestMs) latestMs = dateMs
  }
  return latestMs
}

function zoneMs(zone: string | undefined): number {
  if (zone === undefined) return BEIJING_MS
  const [, sign, hours, minutes = '0'] = /([+-])(\d{1,2}):?(\d{2})?$/.exec(zone) ?? []
  if (sign === undefined) return 0
  return (sign === '-' ? -1 : 1) * (Number(hours) * HOUR_MS + Number(minutes) * 60_000)
}
