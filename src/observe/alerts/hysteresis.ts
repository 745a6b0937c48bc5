/** How one alert stands. Kept by the fleet: numbers and words alone. */
export interface Standing {
  readonly state: 'firing' | 'ok'
  readonly sinceMs: number
  /** Since when what is measured speaks for the other state; 0 for not. */
  readonly turningSinceMs: number
  /** The state that was last told of. */
  readonly told: 'firing' | 'ok'
  readonly value: number
  readonly threshold: number
  readonly message: string
}

export interface Measured {
  readonly breached: boolean
  readonly value: number
  readonly threshold: number
  readonly message: string
}

/** The next standing: it turns once the other state was measured for long enough without a break. */
export function step(
  former: Standing | undefined,
  measured: Measured,
  { forMs, clearMs }: { readonly forMs: number; readonly clearMs: number },
  nowMs: number,
): Standing {
  const { state, sinceMs, turningSinceMs, told } = former ?? {
    state: 'ok' as const,
    sinceMs: nowMs,
    turningSinceMs: 0,
    told: 'ok' as const,
  }
  const { value, threshold, message } = measured
  const same = { told, value, threshold, message }
  if (measured.breached === (state === 'firing')) return { ...same, state, sinceMs, turningSinceMs: 0 }
  const turning = turningSinceMs === 0 ? nowMs : turningSinceMs
  if (nowMs - turning < (state === 'firing' ? clearMs : forMs))
    return { ...same, state, sinceMs, turningSinceMs: turning }
  return { ...same, state: state === 'firing' ? 'ok' : 'firing', sinceMs: nowMs, turningSinceMs: 0 }
}

/** Whether time alone may change it, or somebody has yet to be told. */
export function isUnsettled({ state, turningSinceMs, told }: Standing): boolean {
  return state === 'firing' || turningSinceMs !== 0 || told !== state
}
