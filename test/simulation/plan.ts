import type { GateOptions } from '../../src/config.js'
import type { Priority } from '../../src/intake/input.js'

/** One request, all of it decided beforehand. Times are ms from the start. */
export interface RequestPlan {
  readonly id: number
  readonly atMs: number
  readonly process: number
  readonly pool: string
  readonly tenant: string
  readonly priority: Priority
  readonly tokens: number
  /** What the provider counts in the end. */
  readonly usedTokens: number
  /** How long the provider works on it. */
  readonly serviceMs: number
  readonly deadlineMs: number | undefined
  readonly cancelAfterMs: number | undefined
}

interface Lasting {
  readonly atMs: number
  readonly durationMs: number
}

interface OnProcess extends Lasting {
  readonly process: number
}

interface OnPool extends Lasting {
  readonly pool: string
}

/** How a cut link behaves: packets vanish, the connection breaks, or everything waits and comes once it heals. */
export type PartitionMode = 'vanish' | 'reset' | 'stall'

export type FaultPlan =
  /** Dies at once and comes up under a new name after `durationMs`. */
  | ({ readonly kind: 'crash' } & OnProcess)
  /** A long garbage collection, or SIGSTOP. */
  | ({ readonly kind: 'pause' } & OnProcess)
  | ({ readonly kind: 'partition'; readonly mode: PartitionMode } & OnProcess)
  /** A share of requests, replies and wake-ups is lost, sent twice, comes late, or all are slow. */
  | ({ readonly kind: 'drop' | 'duplicate' | 'reorder' | 'lost-wakes'; readonly share: number } & OnProcess)
  | ({ readonly kind: 'slow'; readonly extraMs: number } & OnProcess)
  | { readonly kind: 'flush'; readonly atMs: number }
  | { readonly kind: 'failover'; readonly atMs: number; readonly tailMs: number }
  | { readonly kind: 'clock-step'; readonly atMs: number; readonly byMs: number }
  | ({ readonly kind: 'storm'; readonly failure: 'OVL' | 'RLR'; readonly retryAfterMs: number | undefined } & OnPool)
  | ({ readonly kind: 'ceiling'; readonly slots: number } & OnPool)
  | ({ readonly kind: 'hang' | 'cut' | 'server-error'; readonly share: number } & OnPool)
  | ({ readonly kind: 'operator-pause' } & OnPool)
  | ({ readonly kind: 'operator-limit'; readonly share: number } & OnPool)

export interface SimPlan {
  readonly seed: number
  readonly processes: number
  readonly config: GateOptions
  readonly isolatedMs: number
  readonly requests: readonly RequestPlan[]
  readonly faults: readonly FaultPlan[]
  /** By then every fault is over. */
  readonly healMs: number
}

export function endOf(fault: FaultPlan): number {
  return fault.atMs + ('durationMs' in fault ? fault.durationMs : 0)
}
