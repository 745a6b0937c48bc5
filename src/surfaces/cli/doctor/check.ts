/** `skipped`: nothing is known, and why. A problem makes the command fail; a warning only with `--strict`. */
export type Status = 'ok' | 'warning' | 'problem' | 'skipped'

/** One thing that was looked at. */
export interface Check {
  /** Stable, for scripts: `redis.eviction`, `pool.glm.key`. */
  readonly id: string
  readonly title: string
  readonly status: Status
  /** What was seen. */
  readonly said: string
  /** What to change, in words. */
  readonly advice?: string
}

/** Names a check once, so that its verdicts read well. */
export function checkOf(id: string, title: string) {
  const verdict =
    (status: Status) =>
    (said: string, advice?: string): Check => {
      return { id, title, status, said, ...(advice !== undefined && { advice }) }
    }
  return { ok: verdict('ok'), warning: verdict('warning'), problem: verdict('problem'), skipped: verdict('skipped') }
}

/** The promise's value, or a rejection once `limitMs` are over. */
export async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** For people: `0.3 ms`, `4.5 s`, `3 min`. */
export function msText(valueMs: number): string {
  if (valueMs < 10) return `${valueMs.toFixed(1)} ms`
  if (valueMs < 1_000) return `${Math.round(valueMs)} ms`
  return valueMs < 120_000 ? `${(valueMs / 1_000).toFixed(1)} s` : `${Math.round(valueMs / 60_000)} min`
}

export function bytesText(bytes: number): string {
  const mebibytes = bytes / 1024 / 1024
  return mebibytes < 1024 ? `${mebibytes.toFixed(1)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`
}
