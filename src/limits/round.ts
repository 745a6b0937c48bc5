import type { GrantReply, GroupSpec, RefusedReply } from './store.js'

/** One exchange's working set. */
export interface Round {
  readonly nowMs: number
  readonly processId: string
  readonly spec: GroupSpec
  /** Indexes of limits this exchange touched. */
  readonly touched: Set<number>
  /** Cost of this process's own refused heads, by the limit that keeps them back. */
  readonly reserved: Map<number, number>
  readonly grants: GrantReply[]
  readonly refused: RefusedReply[]
  retryAtMs: number
}
