import type { ReplayLimits } from './limits.js'

export type ReplayMode = 'governed' | 'unprotected'

/** How a row's request ended; what a gate calls cancelled or expired counts as failed. */
export type RowStatus = 'completed' | 'degraded' | 'failed'

/** The pool that a replay puts under load. Plain data: it travels to the workers. */
export interface ReplayPool {
  readonly model: string
  readonly provider: 'glm' | 'glm-intl' | 'glm-coding' | 'deepseek' | 'openai'
  readonly adaptive?: boolean
  readonly slackMs?: number
  readonly degradedMessage?: string
  readonly retry?: { readonly maxAttempts: number; readonly baseMs: number; readonly capMs: number }
  readonly queue?: { readonly maxQueued: number; readonly maxActive: number }
}

/** A URL, or ioredis options: never a client, which can't be handed to another process. */
export type RedisTarget = string | { readonly host?: string; readonly port?: number }

/** What a worker must know. Limits are scaled to the replay's speed already. */
export interface WorkerSetup {
  readonly mode: ReplayMode
  readonly pool: ReplayPool
  readonly baseURL: string
  readonly limits: ReplayLimits
  readonly guardMs: number
  readonly speed: number
  readonly seed: number
  readonly namespace: string
  readonly redis?: RedisTarget
}

/** Index, trace time since the first row, tokens: a row on its way to a worker. */
export type DealtRow = readonly [index: number, atMs: number, contextTokens: number, generatedTokens: number]

/** Times in wall ms; `endedMs` since the replay's start, `callMs` what the last call itself took. */
export type RowResult = readonly [index: number, status: RowStatus, endedMs: number, callMs: number]

export type ToWorker =
  | { readonly type: 'setup'; readonly setup: WorkerSetup }
  | { readonly type: 'begin'; readonly startWallMs: number }
  | { readonly type: 'rows'; readonly rows: readonly DealtRow[] }
  | { readonly type: 'finish' }

export type FromWorker =
  | { readonly type: 'ready' }
  | { readonly type: 'results'; readonly results: readonly RowResult[]; readonly refused: number }
  | { readonly type: 'broken'; readonly message: string }

/** One clock for all processes of this machine, with fractions. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now()
}
